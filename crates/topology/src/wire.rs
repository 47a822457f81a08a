//! How ids and maps look in JSON: ids as bare numbers, maps as lists of what they hold.
//! Owns: the serde adapters. Never: the formats themselves (see `codec`).
//! The id types live below serde, in `types`, and stay free of it.

use std::collections::BTreeMap;

use keystead_types::NodeId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ReplicaRole;

macro_rules! bare_number {
    ($module:ident, $id:ident) => {
        pub(crate) mod $module {
            use keystead_types::$id;
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            pub(crate) fn serialize<S: Serializer>(id: &$id, to: S) -> Result<S::Ok, S::Error> {
                id.0.serialize(to)
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<$id, D::Error> {
                Deserialize::deserialize(from).map($id)
            }
        }
    };
}

bare_number!(node_id, NodeId);
bare_number!(shard_id, ShardId);
bare_number!(log_index, LogIndex);
bare_number!(epoch, Epoch);

pub(crate) mod node_id_option {
    use keystead_types::NodeId;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(id: &Option<NodeId>, to: S) -> Result<S::Ok, S::Error> {
        id.map(|id| id.0).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<NodeId>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(NodeId))
    }
}

/// Something that carries the key under which a map holds it.
pub(crate) trait Keyed {
    type Key: Ord;
    fn key(&self) -> Self::Key;
}

pub(crate) mod by_key {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Keyed;

    pub(crate) fn serialize<T, S>(map: &BTreeMap<T::Key, T>, to: S) -> Result<S::Ok, S::Error>
    where
        T: Keyed + Serialize,
        S: Serializer,
    {
        to.collect_seq(map.values())
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<BTreeMap<T::Key, T>, D::Error>
    where
        T: Keyed + Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let list = Vec::<T>::deserialize(from)?;
        Ok(list.into_iter().map(|item| (item.key(), item)).collect())
    }
}

/// One replica as it stands in JSON.
#[derive(Serialize, Deserialize)]
struct Replica {
    #[serde(with = "node_id")]
    node: NodeId,
    role: ReplicaRole,
}

pub(crate) mod replicas {
    use super::{BTreeMap, Deserialize, Deserializer, NodeId, Replica, ReplicaRole, Serializer};

    pub(crate) fn serialize<S>(
        map: &BTreeMap<NodeId, ReplicaRole>,
        to: S,
    ) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
    {
        to.collect_seq(map.iter().map(|(&node, &role)| Replica { node, role }))
    }

    pub(crate) fn deserialize<'de, D>(from: D) -> Result<BTreeMap<NodeId, ReplicaRole>, D::Error>
    where
        D: Deserializer<'de>,
    {
        let list = Vec::<Replica>::deserialize(from)?;
        Ok(list.into_iter().map(|replica| (replica.node, replica.role)).collect())
    }
}
