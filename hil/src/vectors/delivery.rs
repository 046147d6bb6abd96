//! The bytes of a vector as they were delivered.

use serde_json::Value;

use super::Outcome;

/// The bytes, cut where `split_at` says.
pub(super) fn chunks<'b>(vector: &Value, received: &'b [u8]) -> Result<Vec<&'b [u8]>, String> {
    let mut chunks = Vec::new();
    let mut start = 0;
    let cuts = match &vector["split_at"] {
        Value::Null => &[],
        cuts => cuts.as_array().ok_or(NO_CUTS)?.as_slice(),
    };
    for cut in cuts {
        let cut =
            cut.as_u64().and_then(|cut| usize::try_from(cut).ok()).filter(|cut| (start..=received.len()).contains(cut));
        let cut = cut.ok_or(NO_CUTS)?;
        chunks.push(&received[start..cut]);
        start = cut;
    }
    chunks.push(&received[start..]);
    Ok(chunks)
}

const NO_CUTS: &str = "`split_at` is no list of ascending offsets";

/// Nothing may be taken before the last chunk has come.
pub(super) fn waits_for_the_last(vector: &Value, received: &[u8], takes: impl Fn(&[u8]) -> bool) -> Outcome {
    let chunks = chunks(vector, received)?;
    let mut arrived = 0;
    for chunk in &chunks[..chunks.len() - 1] {
        arrived += chunk.len();
        if takes(&received[..arrived]) {
            return Err(format!("was taken as complete after {arrived} bytes"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_taken_too_early_is_told_with_the_bytes_that_had_come() {
        let vector = json!({"split_at": [1, 3]});
        assert_eq!(chunks(&vector, &[1, 2, 3, 4]), Ok(vec![&[1][..], &[2, 3], &[4]]));
        assert_eq!(waits_for_the_last(&vector, &[1, 2, 3, 4], |bytes| bytes.len() > 3), Ok(()));
        let early = waits_for_the_last(&vector, &[1, 2, 3, 4], |bytes| bytes.len() > 2);
        assert_eq!(early, Err("was taken as complete after 3 bytes".to_owned()));
        for wrong in [json!([3, 1]), json!([5]), json!(2), json!(["1"])] {
            assert_eq!(chunks(&json!({"split_at": wrong}), &[0; 4]), Err(NO_CUTS.to_owned()));
        }
    }
}
