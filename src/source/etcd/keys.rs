use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

/// A key and its value. In JSON, both are in base64, and what is empty is left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct KeyValue {
    key: String,
    value: String,
}

impl KeyValue {
    pub(super) fn decode(&self) -> Result<(Vec<u8>, Vec<u8>), String> {
        let decode = |text: &str| BASE64_STANDARD.decode(text);
        let pair = decode(&self.key).and_then(|key| Ok((key, decode(&self.value)?)));
        pair.map_err(|error| format!("invalid base64: {error}"))
    }
}

/// The `key` and `range_end` of all keys with this prefix: the end is the next possible prefix (`etcd`'s API, "key
/// ranges").
pub(super) fn range(prefix: &str) -> Value {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    json!({ "key": BASE64_STANDARD.encode(prefix), "range_end": BASE64_STANDARD.encode(end) })
}

/// What is known of the keys: a hash of each value. So a key that is set to the value that it has does not count as
/// changed, and no secret is kept.
#[derive(Debug, Default)]
pub(super) struct Keys {
    hashes: BTreeMap<Vec<u8>, u64>,
    hasher: RandomState,
    known: bool,
}

impl Keys {
    pub(super) const fn are_known(&self) -> bool {
        self.known
    }

    /// Replaces all keys. Returns whether they differ from what was known, if anything was.
    pub(super) fn replace(&mut self, pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> bool {
        let pairs = pairs.into_iter();
        let new = pairs.map(|(key, value)| (key, self.hasher.hash_one(value)));
        let new: BTreeMap<_, _> = new.collect();
        let changed = self.known && new != self.hashes;
        (self.hashes, self.known) = (new, true);
        changed
    }

    /// Records that a key was set or, without a value, deleted. Returns whether that changes anything.
    pub(super) fn set(&mut self, key: Vec<u8>, value: Option<&[u8]>) -> bool {
        match value.map(|value| self.hasher.hash_one(value)) {
            Some(hash) => self.hashes.insert(key, hash) != Some(hash),
            None => self.hashes.remove(&key).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(all: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
        all.iter()
            .map(|(key, value)| (key.as_bytes().into(), value.as_bytes().into()))
            .collect()
    }

    #[test]
    fn only_a_different_value_is_a_change() {
        let mut keys = Keys::default();
        assert!(!keys.replace(pairs(&[("/a", "1")])), "nothing was known");
        assert!(!keys.replace(pairs(&[("/a", "1")])));
        assert!(keys.replace(pairs(&[("/a", "2")])));
        assert!(keys.replace(pairs(&[("/b", "2")])));
        assert!(!keys.set(b"/b".into(), Some(b"2")));
        assert!(keys.set(b"/b".into(), Some(b"3")));
        assert!(keys.set(b"/c".into(), Some(b"")));
        assert!(keys.set(b"/c".into(), None));
        assert!(!keys.set(b"/c".into(), None));
        assert_eq!(keys.hashes.len(), 1);
    }

    #[test]
    fn a_range_ends_before_the_next_prefix() {
        let end = |prefix| range(prefix)["range_end"].clone();
        assert_eq!(end("/app/"), BASE64_STANDARD.encode("/app0"));
        assert_eq!(end("/"), BASE64_STANDARD.encode("0"));
    }

    #[test]
    fn a_key_without_a_value_is_empty_and_garbage_is_an_error() {
        let decode = |text| serde_json::from_str::<KeyValue>(text).unwrap().decode();
        assert_eq!(
            decode(r#"{"key":"L2E=","version":"1"}"#),
            Ok((b"/a".into(), Vec::new()))
        );
        decode(r#"{"key":"%"}"#).unwrap_err();
    }
}
