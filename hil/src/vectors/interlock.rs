//! `barrier-interlock/1`: commands through the law of the gates.

use gatehouse_rules::gate::{Inputs, Motion, judge};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Bench, Outcome, flag, same_fields, text};

pub(super) fn run(_: &Bench, case: &Value) -> Outcome {
    let inputs = match &case["inputs"] {
        Value::Null => Inputs::default(),
        Value::Object(inputs) => {
            let named: Map<_, _> = inputs.clone().into_iter().filter(|(_, value)| !value.is_null()).collect();
            Inputs::deserialize(Value::Object(named)).map_err(|why| format!("inputs: {why}"))?
        }
        inputs => return Err(format!("inputs is {inputs}, not an object")),
    };
    let expected = &case["expect"];
    text(expected, "decision")?;
    let judgement = judge(text(case, "command")?, &inputs, flag(case, "override")?);
    let pulses: Vec<_> = judgement.pulse.iter().copied().map(Motion::as_str).collect();
    let got = json!({ "decision": judgement.decision, "reason": judgement.reason, "pulses": pulses });
    same_fields(expected, &got)
}
