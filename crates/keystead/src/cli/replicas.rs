//! The reply of CLUSTER SYNC, for those who show it: the shell's `sync` and `keystead cluster sync`.
//! Owns: its form. Never: asks for it.

use keystead_client::Value;

/// One shard's replicas.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardReplicas {
    pub(crate) shard: i64,
    pub(crate) index: i64,
    /// Replicas that were level, and how many there should be.
    pub(crate) level: i64,
    pub(crate) wanted: i64,
    pub(crate) is_equal: bool,
    /// Why it is not proven that all are level; empty if it is.
    pub(crate) missing: String,
}

/// All shards of a reply; `None` if it has another form.
pub(crate) fn parse(reply: &Value) -> Option<Vec<ShardReplicas>> {
    reply.as_elements()?.iter().map(ShardReplicas::parse).collect()
}

impl ShardReplicas {
    /// What keeps this shard from being proven level and equal, if anything does.
    pub(crate) fn problem(&self) -> Option<String> {
        let Self { shard, index, missing, .. } = self;
        if !self.is_equal {
            return Some(format!("replicas of shard {shard} differ at log index {index}"));
        }
        (!missing.is_empty()).then(|| format!("shard {shard} {missing}"))
    }

    fn parse(reply: &Value) -> Option<Self> {
        let mut found = Self::default();
        for (name, value) in pairs(reply)? {
            let number = || if let Value::Integer(number) = value { Some(*number) } else { None };
            match name.as_str()? {
                "shard" => found.shard = number()?,
                "index" => found.index = number()?,
                "level" => found.level = number()?,
                "wanted" => found.wanted = number()?,
                "equal" => found.is_equal = number()? == 1,
                "missing" => found.missing = value.as_str()?.to_owned(),
                // A later version may say more.
                _ => {}
            }
        }
        Some(found)
    }
}

/// A map, which RESP2 writes as an array.
fn pairs(reply: &Value) -> Option<Vec<(&Value, &Value)>> {
    match reply {
        Value::Map(pairs) => Some(pairs.iter().map(|(name, value)| (name, value)).collect()),
        other => {
            Some(other.as_elements()?.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(equal: i64, missing: &str) -> Vec<(Value, Value)> {
        let bulk = |text: &str| Value::Bulk(text.into());
        vec![
            (bulk("shard"), Value::Integer(4)),
            (bulk("index"), Value::Integer(9)),
            (bulk("level"), Value::Integer(2)),
            (bulk("wanted"), Value::Integer(3)),
            (bulk("equal"), Value::Integer(equal)),
            (bulk("missing"), bulk(missing)),
            (bulk("later"), Value::Null),
        ]
    }

    #[test]
    fn both_protocols_are_read_alike() {
        let map = Value::Map(shard(1, ""));
        let flat = shard(1, "").into_iter().flat_map(|(name, value)| [name, value]).collect();
        let expected = ShardReplicas {
            shard: 4,
            index: 9,
            level: 2,
            wanted: 3,
            is_equal: true,
            missing: String::new(),
        };
        for form in [map, Value::Array(flat)] {
            let parsed = parse(&Value::Array(vec![form])).unwrap();
            assert_eq!(parsed.len(), 1);
            assert_eq!(parsed[0], expected);
            assert_eq!(parsed[0].problem(), None);
        }
        assert_eq!(parse(&Value::Simple("OK".into())), None);
    }

    #[test]
    fn a_difference_is_named_before_what_is_missing() {
        let problem = |equal, missing| {
            ShardReplicas::parse(&Value::Map(shard(equal, missing))).unwrap().problem()
        };
        let differ = Some("replicas of shard 4 differ at log index 9".to_owned());
        assert_eq!(problem(0, "has no leader"), differ);
        assert_eq!(problem(1, "has no leader"), Some("shard 4 has no leader".to_owned()));
    }
}
