//! Texts in bounded documents.

/// The text without control characters, cut between characters so that it takes at most `bytes` bytes as JSON.
pub(super) fn bounded(text: &str, bytes: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(bytes));
    let mut room = bytes;
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        let Some(left) = room.checked_sub(json_len(c)) else { break };
        room = left;
        kept.push(c);
    }
    kept
}

/// How many bytes a text without control characters takes as JSON, its quotes aside.
pub(super) fn json_bytes(text: &str) -> usize {
    text.chars().map(json_len).sum()
}

fn json_len(c: char) -> usize {
    c.len_utf8() + usize::from(matches!(c, '"' | '\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_loses_its_control_characters() {
        assert_eq!(bounded("电表离线", 7), "电表");
        assert_eq!(bounded("a\r\nb\0", 9), "a  b ");
        assert_eq!(bounded("\"\"\"", 5), "\"\"");
    }
}
