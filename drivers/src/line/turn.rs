//! Whose turn it is: commands first, then whoever waits longest, probes of lost devices and what nobody hurries for among
//! them.

use gatehouse_core::{Mono, NoData, StepId, StepShape};

use super::command::{Active, Written};
use super::device::Device;
use super::flight::{Flight, Task};
use super::late::Fingerprint;
use super::machine::{Line, Port};
use super::output::{CommandResult, Wake};
use super::poll::Steps;
use super::trace::{Direction, Verdict};

/// Requests of commands in a row, after which a poll that is due gets its turn.
const COMMANDS_RUN: u8 = 8;

impl Line {
    /// Puts the next request in flight, if one may go now.
    pub(super) fn take_turn(&mut self, now: Mono) -> bool {
        if self.flight.is_some() {
            return false;
        }
        self.attend(now);
        if self.port != Port::Open || self.tuning.is_changing() || now < self.free_at {
            return false;
        }
        self.late.expire(now);
        self.admit_commands(now);
        // Each round sends, holds a task back to a later time, ends a poll without steps, or wants other characters.
        while let Some(task) = self.next_task(now) {
            if self.send(task, now) {
                return true;
            }
            if self.tuning.is_changing() {
                return false;
            }
        }
        false
    }

    /// The task that goes next, if one may go now.
    fn next_task(&self, now: Mono) -> Option<Task> {
        let rested = |device: usize| self.devices[device].ready_at <= now;
        let stays = self.stays_tuned(now);
        let ready = |active: &&Active| active.ready_at() <= now && rested(active.device);
        let command = self.commands.active.iter().filter(ready).find(|active| !self.waits_its_turn(active));
        let polls = self.polls.iter().enumerate().filter(|(_, poll)| {
            let ready = poll.ready_at().max(self.tuned_at(poll, stays)) <= now;
            ready && rested(poll.device) && !self.devices[poll.device].is_offline()
        });
        let poll = polls.map(|(at, poll)| (poll.waits_since(), at)).min();
        // Commands go first, but however many there are, the readings go on.
        if let Some(active) = command.filter(|_| poll.is_none() || self.commands_run < COMMANDS_RUN) {
            return Some(Task::Command(active.command.id));
        }
        let probe = self.next_probe(now, stays).map(|(at, device)| (at, Task::Probe(device)));
        let poll = poll.map(|(since, at)| (since, Task::Poll(at)));
        let patient = self.commands.active.iter().filter(ready).filter(|active| self.waits_its_turn(active));
        let patient = patient.map(|active| (active.asked, Task::Command(active.command.id)));
        probe.into_iter().chain(poll).chain(patient).min_by_key(|(since, _)| *since).map(|(_, task)| task)
    }

    /// Whether a command takes its turn among the polls. One that keeps another from beginning, of its device and itself in
    /// a hurry, does not.
    fn waits_its_turn(&self, active: &Active) -> bool {
        let is_hindered = |waiting: &super::Command| waiting.device == active.command.device && !waiting.is_patient();
        let hinders = self.commands.queue.iter().any(|(_, waiting)| is_hindered(waiting));
        active.command.is_patient() && !hinders
    }

    /// The lost device to probe, if that is affordable now.
    fn next_probe(&self, now: Mono, stays: bool) -> Option<(Mono, usize)> {
        let due = self
            .devices
            .iter()
            .enumerate()
            .filter(|(_, device)| device.is_offline() && device.backoff.probe_at.max(device.ready_at) <= now)
            .filter(|(at, _)| self.probe_tuned_at(*at, stays) <= now);
        let (probe_at, device) = due.map(|(at, device)| (device.backoff.probe_at, at)).min()?;
        (self.budget.free_at() <= now).then_some((probe_at, device))
    }

    /// Puts the task's current step in flight; false if it has none or must wait.
    fn send(&mut self, task: Task, now: Mono) -> bool {
        let Some((device, step)) = self.step_of(task, now) else { return false };
        let proves = self.ready_command(task, device, now);
        self.devices[device].driver.prepare(step, now);
        let shape = self.devices[device].driver.shape(step);
        let tag = self.tag.wrapping_add(1);
        self.request.clear();
        self.devices[device].driver.encode(step, tag, &mut self.request);
        let request = Fingerprint::of(self.devices[device].driver.reply_class(step), &self.request);
        // What proves an action must not be the late reply to a poll from before it.
        let told = StepShape { repeatable: shape.repeatable && !proves, ..shape };
        let numbered = self.devices[device].driver.is_session();
        if let Some(until) = self.late.holds(request, told, now).filter(|_| !numbered) {
            self.stats.embargoed += 1;
            self.hold(task, until);
            return false;
        }
        if !self.tune(device, now) {
            return false;
        }
        self.tag = tag;
        self.commands_run = match task {
            Task::Command(_) => self.commands_run.saturating_add(1),
            Task::Poll(_) | Task::Probe(_) => 0,
        };
        let timeout = match task {
            Task::Poll(_) => self.devices[device].timeout(),
            Task::Probe(_) => self.devices[device].probe_timeout(),
            Task::Command(_) => self.devices[device].ceiling(),
        };
        let end = now + self.chars(self.request.len());
        let echo_awaited = self.echo() != Some(false);
        self.flight = Some(Flight {
            task,
            device,
            step,
            tag,
            shape,
            request,
            start: now,
            end,
            sent: false,
            timeout,
            deadline: end,
            echo_awaited,
            received: 0,
            garbled: 0,
            reject: None,
            early: false,
            need: 1,
        });
        self.set_deadline(None);
        if self.wire().is_some() {
            self.stats.bytes_discarded += self.rx.len() as u64;
            self.rx.clear();
        }
        self.count_request(task, device, now);
        self.charge_switch(task, now);
        true
    }

    /// Tells the driver how old a command is; true if what it sends acts, or is to prove that it did.
    fn ready_command(&mut self, task: Task, device: usize, now: Mono) -> bool {
        let Task::Command(id) = task else { return false };
        let Some(active) = self.commands.find(id) else { return false };
        let (age, acts) = (now.since(active.asked), active.command.action.acts());
        self.devices[device].driver.aged(age);
        acts
    }

    fn count_request(&mut self, task: Task, device: usize, now: Mono) {
        self.stats.transactions += 1;
        self.stats.bytes_sent += self.request.len() as u64;
        self.stats.probes += u64::from(matches!(task, Task::Probe(_)));
        let device = &mut self.devices[device];
        device.status.transactions += 1;
        let ix = device.ix;
        let secret = self.flight.filter(|flight| self.devices[flight.device].driver.is_secret(flight.step));
        secret.iter().for_each(|flight| self.hush(flight));
        let told = if secret.is_some() { &[][..] } else { &self.request };
        self.trace.note(now, Direction::Sent, Some(ix), Verdict::Request, (told, &self.devices));
        if let Task::Command(id) = task
            && let Some(active) = self.commands.find(id)
        {
            active.begun = true;
        }
    }

    /// The device and the step that a task sends next. Begins the poll if need be, and ends one without steps.
    fn step_of(&mut self, task: Task, now: Mono) -> Option<(usize, StepId)> {
        match task {
            Task::Poll(at) => {
                let poll = &mut self.polls[at];
                let device = poll.device;
                if !poll.active {
                    let (driver, group) = (&self.devices[device].driver, poll.group);
                    self.stats.skipped_slots += poll.begin(now, |steps| driver.group_steps(group, steps));
                }
                let step = poll.steps.current();
                if step.is_none() {
                    poll.active = false;
                    poll.cadence.finish(now);
                }
                Some((device, step?))
            }
            Task::Probe(device) => {
                let step = self.probe_step(device);
                if step.is_none() {
                    self.probe_failed(device, now);
                }
                Some((device, step?))
            }
            Task::Command(id) => {
                let active = self.commands.find(id)?;
                let (device, step) = (active.device, active.steps.current());
                if step.is_none() {
                    self.end_command(id, now, None);
                }
                Some((device, step?))
            }
        }
    }

    /// The step that a probe sends: another one each time, since a device may refuse to answer one.
    fn probe_step(&mut self, device: usize) -> Option<StepId> {
        let Device { driver, backoff, .. } = &self.devices[device];
        let turn = usize::try_from(backoff.probes()).unwrap_or(0);
        let groups = driver.groups().max(1);
        self.spare.steps.clear();
        driver.group_steps(turn % groups, &mut self.spare.steps);
        let place = (turn / groups).checked_rem(self.spare.steps.len())?;
        self.spare.steps.get(place).copied()
    }

    fn hold(&mut self, task: Task, until: Mono) {
        match task {
            Task::Poll(at) => self.polls[at].held_until = until,
            Task::Probe(device) => self.devices[device].backoff.probe_at = until,
            Task::Command(id) => {
                if let Some(active) = self.commands.find(id) {
                    active.held_until = until;
                }
            }
        }
    }

    /// Lets go of everything that waited for a late reply which has come.
    pub(super) fn release_held(&mut self, now: Mono) {
        for poll in &mut self.polls {
            poll.held_until = poll.held_until.min(now);
        }
        for active in &mut self.commands.active {
            active.held_until = active.held_until.min(now);
        }
    }

    /// Begins waiting commands, one for each device.
    fn admit_commands(&mut self, now: Mono) {
        let mut at = 0;
        while let Some((_, command)) = self.commands.queue.get(at) {
            let device = self.devices.iter().position(|device| device.ix == command.device);
            let busy = device.is_none_or(|device| self.commands.active.iter().any(|active| active.device == device));
            let (Some(device), false) = (device, busy) else {
                at += 1;
                continue;
            };
            let Some((asked, command)) = self.commands.queue.remove(at) else { break };
            match Steps::of(|steps| self.devices[device].driver.begin(&command.action, steps)) {
                Ok(steps) => self.commands.active.push(Active::new((asked, command), device, steps)),
                Err(error) => self.command_done(command.id, now, CommandResult::Refused(error.into())),
            }
        }
    }

    fn expire_commands(&mut self, now: Mono) {
        while let Some(at) = self.commands.queue.iter().position(|(_, command)| command.expires <= now) {
            if let Some((_, command)) = self.commands.queue.remove(at) {
                self.command_done(command.id, now, CommandResult::Expired);
            }
        }
        let over = |active: &Active| !active.begun && active.command.expires <= now;
        while let Some(at) = self.commands.active.iter().position(over) {
            let active = self.commands.active.remove(at);
            self.devices[active.device].driver.end();
            self.command_done(active.command.id, now, CommandResult::Expired);
        }
    }

    /// Ends a command with what is known of it.
    pub(super) fn end_command(&mut self, id: u64, now: Mono, failure: Option<NoData>) {
        if let Some(at) = self.commands.active.iter().position(|active| active.command.id == id) {
            let active = self.commands.active.remove(at);
            self.late.forget_steps(active.device);
            let device = active.device;
            let result = active.result(failure, &*self.devices[device].driver);
            self.devices[device].driver.end();
            self.command_done(id, now, result);
        }
    }

    /// Does what is due without the wire: reports gaps, refuses commands whose time is over.
    pub(super) fn attend(&mut self, now: Mono) {
        self.report_unasked(now);
        self.expire_commands(now);
    }

    /// Reports the due polls that nobody asks a device for: it is lost, or the port is gone.
    fn report_unasked(&mut self, now: Mono) {
        let port_gone = self.gap_at().is_some_and(|gap_at| gap_at <= now);
        if port_gone {
            self.fail_commands(now);
        }
        for at in 0..self.polls.len() {
            let offline = self.devices[self.polls[at].device].is_offline();
            let reason = match (port_gone, offline) {
                (true, _) => NoData::BusDown,
                (false, true) => NoData::DeviceOffline,
                (false, false) => continue,
            };
            if self.polls[at].active {
                self.abandon_poll(at, now, reason);
            } else if self.polls[at].cadence.turn() <= now {
                self.report_gap(at, now, reason);
            }
        }
    }

    fn report_gap(&mut self, at: usize, now: Mono, reason: NoData) {
        let poll = &mut self.polls[at];
        let (driver, group) = (&self.devices[poll.device].driver, poll.group);
        self.stats.skipped_slots += poll.begin(now, |steps| driver.group_steps(group, steps));
        self.stats.unasked_polls += 1;
        self.abandon_poll(at, now, reason);
    }

    /// Ends every command because the port is gone.
    fn fail_commands(&mut self, now: Mono) {
        while let Some((_, command)) = self.commands.queue.pop_front() {
            let expired = command.expires <= now;
            let result = if expired { CommandResult::Expired } else { CommandResult::Failed(NoData::BusDown) };
            self.command_done(command.id, now, result);
        }
        while let Some(active) = self.commands.active.first() {
            self.end_command(active.command.id, now, Some(NoData::BusDown));
        }
    }

    /// The earliest time at which anything is to be done.
    pub(super) fn next_wake(&self, now: Mono) -> Option<(Mono, Wake)> {
        if let Some(flight) = &self.flight {
            return Some((flight.deadline, Wake::Reply));
        }
        if let Some(gap_at) = self.gap_at() {
            let polls = self.polls.iter().map(|poll| (poll.waits_since().max(gap_at), Wake::Report));
            let commands = (self.commands.len() > 0).then_some((gap_at, Wake::Command));
            return polls.chain(commands).min_by_key(|wake| wake.0);
        }
        if let Some(until) = self.tuning.changes_until() {
            return Some((until, Wake::Settings));
        }
        let stays = self.stays_tuned(now);
        let at_turn = |at: Mono, device: usize| at.max(self.devices[device].ready_at).max(self.free_at);
        let polls = self.polls.iter().map(|poll| {
            let offline = self.devices[poll.device].is_offline();
            let send = at_turn(poll.ready_at().max(self.tuned_at(poll, stays)), poll.device);
            if offline { (poll.cadence.turn(), Wake::Report) } else { (send, Wake::Poll) }
        });
        let lost = self.devices.iter().enumerate().filter(|(_, device)| device.is_offline());
        let probes = lost.map(|(at, device)| {
            let due = device.backoff.probe_at.max(self.budget.free_at()).max(self.probe_tuned_at(at, stays));
            (at_turn(due, at), Wake::Probe)
        });
        let active = self.commands.active.iter().map(|active| {
            let send = at_turn(active.ready_at(), active.device);
            (if active.begun { send } else { send.min(active.command.expires) }, Wake::Command)
        });
        // A waiting command is looked at when the line is free: it begins then, or its device is busy with another.
        let waits = |device| self.commands.active.iter().any(|active| self.devices[active.device].ix == device);
        let queued = self.commands.queue.iter().map(|(_, command)| {
            let at = if waits(command.device) { command.expires } else { self.free_at.min(command.expires) };
            (at, Wake::Command)
        });
        let (at, why) = polls.chain(probes).chain(active).chain(queued).min_by_key(|wake| wake.0)?;
        let silence = at == self.free_at && self.free_at > now;
        Some((at, if silence { Wake::Silence } else { why }))
    }

    /// Notes what became of a command's write.
    pub(super) fn note_written(&mut self, id: u64, written: Written) {
        if let Some(active) = self.commands.find(id)
            && active.command.action.acts()
        {
            active.write = Some(written);
        }
    }
}
