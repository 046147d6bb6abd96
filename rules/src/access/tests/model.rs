//! Random presentations, answers, deadlines, deltas, clock steps and restarts, beside a model of what must hold.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Something that happens.
#[derive(Debug, Clone)]
enum Happening {
    Plate(u8),
    Code(u8),
    Answer { back: u64, allowed: bool },
    Wait(u16),
    Revoke(u8),
    Put(u8),
    Mode(bool),
    Image,
    Clock(bool),
    Kill,
    Reboot,
    Passed { back: usize, verified: Option<bool> },
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0u8..6).prop_map(Happening::Plate),
        4 => (0u8..6).prop_map(Happening::Code),
        3 => (0u64..4, any::<bool>()).prop_map(|(back, allowed)| Happening::Answer { back, allowed }),
        4 => (0u16..20_000).prop_map(Happening::Wait),
        1 => (0u8..6).prop_map(Happening::Revoke),
        1 => (0u8..6).prop_map(Happening::Put),
        1 => any::<bool>().prop_map(Happening::Mode),
        1 => Just(Happening::Image),
        1 => any::<bool>().prop_map(Happening::Clock),
        2 => Just(Happening::Kill),
        1 => Just(Happening::Reboot),
        2 => (0usize..3, proptest::option::of(any::<bool>()))
            .prop_map(|(back, verified)| Happening::Passed { back, verified }),
    ]
}

/// What must hold, kept beside the machine.
#[derive(Default)]
struct Model {
    /// Requests that are owed a verdict.
    owed: BTreeSet<RequestId>,
    /// Of which request each code opened, until it is given back.
    opened: BTreeMap<String, RequestId>,
    revoked: BTreeSet<String>,
    version: u64,
}

fn text(n: u8) -> String {
    format!("京A0000{n}")
}

fn code_text(n: u8) -> String {
    format!("CODE-{n}")
}

fn one_time(n: u8) -> Credential {
    let until = Some(seconds(NOON + 10 * 24 * 3600));
    Credential { until, ..credential(lookup().code(&code_text(n)), CredentialKind::Code, "p-9") }
}

impl Model {
    fn hear(&mut self, bench: &mut Bench) -> Result<(), TestCaseError> {
        for verdict in bench.verdicts.drain(..) {
            prop_assert!(self.owed.remove(&verdict.request), "{:?} has two verdicts", verdict.request);
            let by_box = matches!(verdict.decided_by, DecidedBy::Box | DecidedBy::OfflinePolicy);
            let credential = verdict.facts.get("credential").cloned().unwrap_or_default();
            prop_assert!(!(verdict.allowed && by_box && self.revoked.contains(&credential)), "{verdict:?}");
            if let Some(once) = verdict.facts.get("once") {
                prop_assert!(verdict.allowed);
                let before = self.opened.insert(once.clone(), verdict.request);
                prop_assert_eq!(before, None, "a code opened twice");
            }
            bench.passing.push(verdict);
        }
        Ok(())
    }

    fn delta(&mut self, bench: &mut Bench, change: Change) -> Result<(), TestCaseError> {
        self.version += 1;
        bench.snapshot(&header(self.version, Some(self.version - 1)), vec![change]).unwrap();
        Ok(())
    }

    fn step(&mut self, bench: &mut Bench, happening: Happening) -> Result<(), TestCaseError> {
        match happening {
            Happening::Plate(n) => self.present(bench, plate(&text(n))),
            Happening::Code(n) => self.present(bench, code(&code_text(n))),
            Happening::Answer { back, allowed } => {
                let request = RequestId(bench.request.saturating_sub(back));
                let _ = bench.answer(request, allowed, if allowed { "granted" } else { "no" });
            }
            Happening::Wait(ms) => bench.wait(Duration::from_millis(u64::from(ms))),
            Happening::Revoke(n) => {
                self.revoked.insert(plate_id(&text(n)).prefix());
                self.delta(bench, Change::Revoke(plate_id(&text(n))))?;
            }
            Happening::Put(n) => {
                self.revoked.remove(&plate_id(&text(n)).prefix());
                self.delta(bench, Change::Put(plate_credential(&text(n), "p")))?;
            }
            Happening::Mode(online) => bench.mode = if online { Mode::Online } else { Mode::Degraded },
            Happening::Image => bench.write_image(),
            Happening::Clock(set) => bench.now.trust = if set { Trust::Synchronised } else { Trust::Unset },
            Happening::Kill => bench.restart(),
            Happening::Reboot => bench.reboot(),
            Happening::Passed { back, verified } => {
                let at = bench.passing.len().checked_sub(back + 1);
                if let Some(verdict) = at.map(|at| bench.passing.remove(at)) {
                    bench.pass(&verdict, verified);
                    if verdict.allowed && verified == Some(false) {
                        self.opened.retain(|_, request| *request != verdict.request);
                    }
                }
            }
        }
        self.hear(bench)
    }

    fn present(&mut self, bench: &mut Bench, proof: Proof) {
        let (request, taken) = bench.present("entry", Direction::In, proof);
        match taken {
            Taken::Decided | Taken::Asked => {
                self.owed.insert(request);
            }
            Taken::Duplicate(earlier) => assert!(earlier < request),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn each_request_has_one_verdict_each_code_one_passage_and_nothing_revoked_opens(
        core: bool,
        story in proptest::collection::vec(happening(), 1..80),
    ) {
        let policy = if core { core_policy() } else { GatePolicy::default() };
        let credentials = (0..3).map(|n| plate_credential(&text(n), "p")).chain((0..3).map(one_time)).collect();
        let mut bench = Bench::with(policy, credentials);
        let mut model = Model { version: 1, ..Model::default() };
        for happening in story {
            model.step(&mut bench, happening)?;
        }
        bench.wait(Duration::from_secs(2));
        bench.access.handle_timeout(bench.now);
        bench.drain();
        model.hear(&mut bench)?;
        prop_assert!(model.owed.is_empty(), "{:?} have no verdict", model.owed);
        prop_assert_eq!(bench.access.view().version, Some(model.version));
        prop_assert!(bench.kept.keys().all(|key| !key.starts_with("access/ask/")));
    }
}
