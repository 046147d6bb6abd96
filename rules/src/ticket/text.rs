//! Texts in bounded documents.

/// The text without control characters and cut at a character's boundary to at most `bytes` bytes.
pub(super) fn bounded(text: &str, bytes: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(bytes));
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if kept.len() + c.len_utf8() > bytes {
            break;
        }
        kept.push(c);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_loses_its_control_characters() {
        assert_eq!(bounded("电表离线", 7), "电表");
        assert_eq!(bounded("a\r\nb\0", 9), "a  b ");
    }
}
