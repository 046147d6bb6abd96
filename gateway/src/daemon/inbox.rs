//! What the core sends: each message goes to the engine, and is acknowledged once what it caused is durable.

use gatehouse_rules::Access;
use gatehouse_rules::access::{Answer, Heard};
use gatehouse_rules::command::Source;
use gatehouse_rules::ticket::{TicketState, Update, UpdateResult};
use gatehouse_rules::words::RequestId;
use gatehouse_uplink::schema::{AnswerMessage, TicketMessage};
use gatehouse_uplink::{Inbound, Message};

use super::credentials::NO_ACCESS;
use super::effector::Held;
use super::run::Daemon;

impl Daemon {
    /// Takes a message of the core. One that cannot be used is told in the audit trail and acknowledged all the same:
    /// it would not get better by coming again.
    pub(super) fn on_message(&mut self, message: Message) {
        match message.topic {
            // Its outcome travels in the audit lane; nobody waits for it here.
            Inbound::Command => drop(self.hub.command(Source::Core, message.retained, &message.payload)),
            Inbound::Ticket => self.on_ticket(&message.payload),
            Inbound::Answer => self.on_answer(&message),
            Inbound::Credentials => {
                let refused = match &self.intake {
                    Some(intake) => match intake.take(message) {
                        // It is settled once it is in force and on the disk.
                        Ok(()) => return,
                        Err(message) => (message, "too many parts wait: send them again"),
                    },
                    None => (message, NO_ACCESS),
                };
                self.hub.refuse_message(Inbound::Credentials, refused.1);
                return self.hub.hold(Held::Settle(refused.0.id));
            }
        }
        self.hub.hold(Held::Settle(message.id));
    }

    fn on_ticket(&mut self, payload: &[u8]) {
        let update = match ticket_update(payload) {
            Ok(update) => update,
            Err(why) => return self.hub.refuse_message(Inbound::Ticket, &why),
        };
        let mut result = None;
        self.hub.decide(|engine, now| result = Some(engine.handle_ticket(now, &update)));
        match result {
            Some(UpdateResult::Refused(why)) => self.hub.refuse_message(Inbound::Ticket, &why.to_string()),
            Some(UpdateResult::NoSuchTicket) => {
                self.hub.refuse_message(Inbound::Ticket, &format!("the box has no ticket {}", update.ticket));
            }
            Some(
                UpdateResult::Applied { .. }
                | UpdateResult::AppliedLate
                | UpdateResult::Duplicate
                | UpdateResult::Superseded { .. }
                | UpdateResult::Merged { .. },
            )
            | None => {}
        }
    }

    fn on_answer(&self, message: &Message) {
        if message.retained {
            return self.hub.refuse_message(Inbound::Answer, "it was retained: an answer counts once");
        }
        let (request, answer) = match answer(&message.payload) {
            Ok(read) => read,
            Err(why) => return self.hub.refuse_message(Inbound::Answer, &why),
        };
        let mut heard = None;
        self.hub.decide(|engine, now| {
            let hear = |access: &mut Access, now| access.handle_answer(now, request, &answer, message.authentic);
            heard = engine.handle_access(now, hear);
        });
        match heard {
            Some(Heard::Taken | Heard::Late) => {}
            Some(Heard::NotAuthentic) => {
                let why = "it came over a link whose other end was not checked: answers count over TLS only";
                self.hub.refuse_message(Inbound::Answer, why);
            }
            None => self.hub.refuse_message(Inbound::Answer, NO_ACCESS),
        }
    }
}

/// The answer that a message of the core carries.
fn answer(payload: &[u8]) -> Result<(RequestId, Answer), String> {
    let message: AnswerMessage = serde_json::from_slice(payload).map_err(|why| why.to_string())?;
    if message.v != 1 {
        return Err(format!("version {} of answers is not known here", message.v));
    }
    let AnswerMessage { request, allow, reason, facts, .. } = message;
    Ok((RequestId(request), Answer { allowed: allow, reason, who: None, class: None, facts }))
}

/// The update that a message of the core carries.
fn ticket_update(payload: &[u8]) -> Result<Update, String> {
    let message: TicketMessage = serde_json::from_slice(payload).map_err(|why| why.to_string())?;
    if message.v != 1 {
        return Err(format!("version {} of ticket updates is not known here", message.v));
    }
    let state = match &message.state {
        None => None,
        Some(text) => {
            let named = serde_json::from_value::<TicketState>(text.as_str().into());
            Some(named.map_err(|_| format!("{text:?} is no state of a ticket"))?)
        }
    };
    Ok(Update {
        ticket: message.ticket,
        id: message.update,
        rev: message.rev,
        seen_box_rev: message.seen_box_rev,
        core_number: message.core_number,
        state,
        assignee: message.assignee,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_of_the_core_is_read_or_refused_with_its_reason() {
        let update = ticket_update(br#"{"v":1,"ticket":17,"update":"u-1","rev":3,"state":"on_site","seen_box_rev":4}"#);
        let update = update.unwrap();
        assert_eq!((update.ticket, update.rev, update.seen_box_rev), (17, 3, Some(4)));
        assert_eq!(update.state, Some(TicketState::OnSite));
        let wrong = ticket_update(br#"{"v":1,"ticket":17,"update":"u-1","rev":3,"state":"lost"}"#).unwrap_err();
        assert_eq!(wrong, "\"lost\" is no state of a ticket");
        let wrong = ticket_update(br#"{"v":2,"ticket":17,"update":"u-1","rev":3}"#).unwrap_err();
        assert_eq!(wrong, "version 2 of ticket updates is not known here");
    }
}
