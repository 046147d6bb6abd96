//! What the core sends: each message goes to the engine, and is acknowledged once what it caused is durable.

use gatehouse_rules::command::Source;
use gatehouse_rules::ticket::{TicketState, Update, UpdateResult};
use gatehouse_uplink::schema::TicketMessage;
use gatehouse_uplink::{Inbound, Message};
use serde_json::json;

use super::effector::Held;
use super::run::Daemon;

impl Daemon {
    /// Takes a message of the core. One that cannot be used is told in the audit trail and acknowledged all the same:
    /// it would not get better by coming again.
    pub(super) fn on_message(&mut self, message: &Message) {
        match message.topic {
            // Its outcome travels in the audit lane; nobody waits for it here.
            Inbound::Command => drop(self.hub.command(Source::Core, message.retained, &message.payload)),
            Inbound::Ticket => self.on_ticket(&message.payload),
            Inbound::Credentials | Inbound::Answer => {
                self.unusable(message.topic, "the site has no gate that asks for credentials");
            }
        }
        self.hub.hold(Held::Settle(message.id));
    }

    fn on_ticket(&mut self, payload: &[u8]) {
        let update = match ticket_update(payload) {
            Ok(update) => update,
            Err(why) => return self.unusable(Inbound::Ticket, &why),
        };
        let mut result = None;
        self.hub.decide(|engine, now| result = Some(engine.handle_ticket(now, &update)));
        match result {
            Some(UpdateResult::Refused(why)) => self.unusable(Inbound::Ticket, &why.to_string()),
            Some(UpdateResult::NoSuchTicket) => {
                self.unusable(Inbound::Ticket, &format!("the box has no ticket {}", update.ticket));
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

    fn unusable(&self, topic: Inbound, why: &str) {
        tracing::warn!(topic = topic.as_str(), why, "a message of the core cannot be used");
        let why: String = why.chars().take(300).collect();
        self.hub.audit("message_refused", &json!({ "topic": topic.as_str(), "why": why }));
    }
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
