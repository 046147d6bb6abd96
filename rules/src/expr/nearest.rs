//! The name that was probably meant.

/// Fewest characters that say something as a part of a name.
const TELLING: usize = 3;

/// Most names that one message lists.
const LISTED: usize = 8;

/// The candidate nearest to `given`: within about a third of its length, else one of which it is a part.
pub(super) fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = given.to_lowercase();
    let length = lower.chars().count();
    let bound = (length / 3).max(1);
    let rank = |candidate: &str| {
        let distance = strsim::damerau_levenshtein(&lower, candidate);
        let part = candidate.contains(&lower) || lower.contains(candidate);
        if distance <= bound && distance < length {
            Some((false, distance))
        } else {
            (part && length.min(candidate.chars().count()) >= TELLING).then_some((true, distance))
        }
    };
    let ranked = candidates.into_iter().filter_map(|candidate| Some((rank(candidate)?, candidate)));
    ranked.min_by_key(|&(rank, _)| rank).map(|(_, candidate)| candidate)
}

/// A line of help: the nearest name, written by `write`, else the names that there are.
pub(super) fn suggestion<'a>(
    given: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
    write: impl Fn(&str) -> String,
) -> String {
    if let Some(near) = nearest(given, candidates.clone()) {
        return format!("did you mean {}?", write(near));
    }
    let mut names: Vec<String> = candidates.into_iter().take(LISTED + 1).map(&write).collect();
    if names.is_empty() {
        return "there are none".to_owned();
    }
    let more = if names.len() > LISTED { ", ..." } else { "" };
    names.truncate(LISTED);
    format!("there are {}{more}", names.join(", "))
}
