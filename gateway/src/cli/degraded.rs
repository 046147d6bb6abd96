//! What `gatehouse check` shows of the time that a site is cut off from the core.

use std::io::Write;

use gatehouse_config::units::duration_text;
use gatehouse_config::{Degraded, Escalation};
use serde_json::{Value, json};

/// Writes what changes; nothing for a site that is the same in every mode.
pub(super) fn write(degraded: &Degraded, out: &mut dyn Write) -> std::io::Result<()> {
    if degraded.is_empty() {
        return Ok(());
    }
    writeln!(out, "While the core cannot be reached (for {} or more), until it has what it is owed:", {
        duration_text(degraded.after)
    })?;
    for change in &degraded.intervals {
        let points = if change.points == 1 { "1 point".to_owned() } else { format!("{} points", change.points) };
        let (from, to) = (duration_text(change.from), duration_text(change.to));
        writeln!(out, "  interval    {}: {points} every {to} instead of {from}", change.device)?;
    }
    for rule in &degraded.rules {
        writeln!(out, "  rule        {rule} asks for the mode")?;
    }
    for step in &degraded.escalations {
        writeln!(out, "  escalation  {}: {}", step.kind, escalation(step))?;
    }
    for (gate, policy) in &degraded.gates {
        writeln!(out, "  gate        {gate}: the box decides instead of the core, by {}", policy.as_str())?;
    }
    Ok(())
}

fn escalation(step: &Escalation) -> String {
    let outputs = step.outputs.iter().map(ToString::to_string);
    let guard = step.guard_message.then(|| "a message for the guard".to_owned());
    let reached: Vec<String> = outputs.chain(guard).collect();
    format!("step {} after {} ({})", step.step, duration_text(step.after), reached.join(", "))
}

/// The same as JSON.
pub(super) fn document(degraded: &Degraded) -> Value {
    let intervals = degraded.intervals.iter().map(|change| {
        json!({
            "device": change.device.as_str(), "points": change.points,
            "from_s": change.from.as_secs_f64(), "to_s": change.to.as_secs_f64(),
        })
    });
    let escalations = degraded.escalations.iter().map(|step| {
        json!({
            "kind": step.kind.as_str(), "step": step.step, "after_s": step.after.as_secs_f64(),
            "outputs": step.outputs.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
            "guard_message": step.guard_message,
        })
    });
    json!({
        "after_s": degraded.after.as_secs_f64(), "intervals": intervals.collect::<Vec<_>>(),
        "rules": degraded.rules, "escalations": escalations.collect::<Vec<_>>(),
        "gates": degraded.gates.iter().map(|(gate, policy)| json!({ "gate": gate, "offline": policy.as_str() }))
            .collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use gatehouse_config::load;
    use gatehouse_drivers::profile::Library;

    use super::*;

    const SITE: &str = r#"
[site]
id = "box"
rules = "rules.toml"
[mode]
down = "45s"
[[bus]]
id = "plant"
tcp = "127.0.0.1:502"
[[device]]
id = "meter-101"
unit = 1
profile = "acrel-adl400"
points = ["voltage_l1", "import_energy"]
interval = "1m"
interval_degraded = "5m"
[[device]]
id = "board"
unit = 2
profile = "waveshare-modbus-rtu-relay-8"
[[gate]]
id = "lobby"
kind = "door"
lock = { point = "board/relay2", level = true }
access = { decide = "core", offline = "guard_only" }
[access]
core_keys = ["11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]
lookup_key = { credential = "lookup-key" }
seal_key = { credential = "seal-key" }
"#;

    const RULES: &str = r#"
[[alarm]]
id = "alone"
priority = "p2"
when = 'mode != "online"'
[[alarm]]
id = "overvoltage"
priority = "p2"
on = { device = "meter-101" }
when = "voltage_l1 > 253"
[[ticket]]
id = "pump"
escalation = [
    { after = "5m", guard_message = true },
    { after = "15m", outputs = ["board/relay1"], guard_message = true, when = "offline" },
]
"#;

    #[test]
    fn what_changes_while_the_site_is_cut_off_is_shown_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.toml");
        std::fs::write(&path, SITE).unwrap();
        std::fs::write(folder.path().join("rules.toml"), RULES).unwrap();
        let site = load(&path, &Library::new()).map_err(|problems| problems.to_string()).unwrap().site;
        let mut out = Vec::new();
        write(&site.degraded(), &mut out).unwrap();
        let expected = "\
While the core cannot be reached (for 45s or more), until it has what it is owed:
  interval    meter-101: 2 points every 5m instead of 1m
  rule        alone asks for the mode
  escalation  pump: step 2 after 15m (board.relay1, a message for the guard)
  gate        lobby: the box decides instead of the core, by guard_only
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let document = document(&site.degraded());
        assert_eq!(
            document["intervals"][0],
            json!({ "device": "meter-101", "points": 2, "from_s": 60.0, "to_s": 300.0 })
        );
        assert_eq!((&document["rules"], &document["escalations"][0]["step"]), (&json!(["alone"]), &json!(2)));
    }

    #[test]
    fn a_site_that_is_the_same_in_every_mode_shows_nothing() {
        let mut out = Vec::new();
        write(&Degraded::default(), &mut out).unwrap();
        assert!(out.is_empty());
    }
}
