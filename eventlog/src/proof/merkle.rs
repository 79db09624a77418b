//! The Merkle tree of RFC 9162 (section 2.1, the same as RFC 6962): hashes, proofs, their checks. Pure.

use std::ops::Range;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::envelope::{EventHash, Position};

/// A SHA-256 hash: of a leaf, a node or a whole tree.
pub type Hash = [u8; 32];

/// The 48 bytes that an event's leaf is made of: position (8 bytes, big-endian), `recorded_at`
/// (microseconds since 1970 UTC, 8 bytes, big-endian, signed), the event's hash. Position *n* is the
/// leaf with index *n* − 1.
#[must_use]
pub fn leaf_data(position: Position, recorded_at: DateTime<Utc>, hash: EventHash) -> [u8; 48] {
    let mut data = [0; 48];
    data[..8].copy_from_slice(&position.0.to_be_bytes());
    data[8..16].copy_from_slice(&recorded_at.timestamp_micros().to_be_bytes());
    data[16..].copy_from_slice(&hash.0);
    data
}

/// SHA-256(0x00 ‖ data).
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(data).finalize().into()
}

/// SHA-256(0x01 ‖ left ‖ right).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// A node whose subtree is complete: its leaves are `index << level` to `(index + 1) << level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// 0 for leaves.
    pub level: u32,
    /// Its number on the level, from 0.
    pub index: u64,
}

/// Where the hashes of complete nodes are found.
pub trait Nodes {
    /// The node's hash; `None` if it is not there.
    fn node(&self, node: Node) -> Option<Hash>;
}

/// The complete nodes that make up the subtree over these leaves, from left to right. The range must
/// be one of a tree: the whole tree, or what [`inclusion`] and [`consistency`] name.
#[must_use]
pub fn nodes_of(leaves: &Range<u64>) -> Vec<Node> {
    let (mut at, mut nodes) = (leaves.start, vec![]);
    while at < leaves.end {
        let fits = (leaves.end - at).ilog2();
        let level = if at == 0 { fits } else { fits.min(at.trailing_zeros()) };
        nodes.push(Node { level, index: at >> level });
        at += 1 << level;
    }
    nodes
}

/// The hash of the subtree over these leaves, see [`nodes_of`]; of none, SHA-256 of nothing.
/// `None` if a node is missing.
#[must_use]
pub fn range_hash(nodes: &impl Nodes, leaves: &Range<u64>) -> Option<Hash> {
    let mut found = nodes_of(leaves).into_iter().rev().map(|node| nodes.node(node));
    let Some(last) = found.next() else { return Some(Sha256::digest([]).into()) };
    found.try_fold(last?, |right, left| Some(node_hash(&left?, &right)))
}

/// The subtrees whose hashes prove that the leaf is in the tree of this size, from the leaf upwards.
/// Empty if it is not.
#[must_use]
pub fn inclusion(index: u64, size: u64) -> Vec<Range<u64>> {
    let (mut begin, mut end, mut path) = (0, size, vec![]);
    while index < size && end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            path.push(middle..end);
            end = middle;
        } else {
            path.push(begin..middle);
            begin = middle;
        }
    }
    path.reverse();
    path
}

/// The subtrees whose hashes prove that the tree of size `new` begins with that of size `old`. Empty
/// if nothing needs to be proven.
#[must_use]
pub fn consistency(old: u64, new: u64) -> Vec<Range<u64>> {
    let (mut begin, mut end, mut path) = (0, new, vec![]);
    if old == 0 || old >= new {
        return path;
    }
    while end != old {
        let middle = begin + split(end - begin);
        if old <= middle {
            path.push(middle..end);
            end = middle;
        } else {
            path.push(begin..middle);
            begin = middle;
        }
    }
    if begin > 0 {
        path.push(begin..end);
    }
    path.reverse();
    path
}

/// The largest power of two below `n`, which is at least 2.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// Whether the path proves that this leaf is in the tree with this size and root (RFC 9162, 2.1.3.2).
#[must_use]
pub fn is_included(index: u64, size: u64, leaf: &Hash, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether the path proves that the tree of size `new` begins with that of size `old`
/// (RFC 9162, 2.1.4.2).
#[must_use]
pub fn is_consistent(
    (old, old_root): (u64, &Hash),
    (new, new_root): (u64, &Hash),
    path: &[Hash],
) -> bool {
    if old >= new || old == 0 {
        return path.is_empty() && (old == 0 || (old == new && old_root == new_root));
    }
    let mut path = path.iter();
    let start = if old.is_power_of_two() { Some(old_root) } else { path.next() };
    let Some(start) = start else { return false };
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut of_old, mut of_new) = (*start, *start);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            of_old = node_hash(sibling, &of_old);
            of_new = node_hash(sibling, &of_new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            of_new = node_hash(&of_new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && of_old == *old_root && of_new == *new_root
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proof::tiles::{Edge, Tiles};

    /// The definition of RFC 9162, 2.1.1, word by word.
    fn root_by_definition(leaves: &[Vec<u8>]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [leaf] => leaf_hash(leaf),
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
                node_hash(&root_by_definition(left), &root_by_definition(right))
            }
        }
    }

    /// PATH of 2.1.3.1.
    fn path_by_definition(index: usize, leaves: &[Vec<u8>]) -> Vec<Hash> {
        if leaves.len() < 2 {
            return vec![];
        }
        let k = split(leaves.len() as u64) as usize;
        let (left, right) = leaves.split_at(k);
        let (mut path, other) = match index < k {
            true => (path_by_definition(index, left), right),
            false => (path_by_definition(index - k, right), left),
        };
        path.push(root_by_definition(other));
        path
    }

    /// SUBPROOF of 2.1.4.1.
    fn subproof(m: usize, leaves: &[Vec<u8>], is_whole: bool) -> Vec<Hash> {
        if m == leaves.len() {
            return if is_whole { vec![] } else { vec![root_by_definition(leaves)] };
        }
        let k = split(leaves.len() as u64) as usize;
        let (left, right) = leaves.split_at(k);
        let (mut path, other) = match m <= k {
            true => (subproof(m, left, is_whole), right),
            false => (subproof(m - k, right, false), left),
        };
        path.push(root_by_definition(other));
        path
    }

    fn tree(leaves: &[Vec<u8>]) -> Tiles {
        let (mut edge, mut tiles) = (Edge::default(), Tiles::default());
        leaves.iter().for_each(|leaf| edge.push(leaf_hash(leaf)));
        tiles.extend(edge.take_changed());
        tiles
    }

    fn hashes(tiles: &Tiles, ranges: &[Range<u64>]) -> Vec<Hash> {
        ranges.iter().map(|range| range_hash(tiles, range).expect("a hash")).collect()
    }

    fn leaves() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let leaves = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 1..600);
        // No two are the same, as in a log.
        leaves.prop_map(|mut leaves| {
            leaves.iter_mut().zip(0_u16..).for_each(|(leaf, n)| leaf.extend(n.to_be_bytes()));
            leaves
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn roots_and_inclusion_proofs_are_those_of_the_definition(
            leaves in leaves(), at in any::<prop::sample::Index>(), until in any::<prop::sample::Index>(),
        ) {
            let tiles = tree(&leaves);
            // Also of a size that the tree has outgrown.
            let leaves = &leaves[..=until.index(leaves.len())];
            let (size, index) = (leaves.len() as u64, at.index(leaves.len()));
            let root = range_hash(&tiles, &(0..size)).expect("a root");
            prop_assert_eq!(root, root_by_definition(leaves));
            let mut path = hashes(&tiles, &inclusion(index as u64, size));
            prop_assert_eq!(&path, &path_by_definition(index, leaves));
            let (leaf, index) = (leaf_hash(&leaves[index]), index as u64);
            prop_assert!(is_included(index, size, &leaf, &path, &root));
            prop_assert!(!is_included(index + 1, size, &leaf, &path, &root));
            prop_assert!(!is_included(index, size, &root, &path, &root) || size == 1);
            path.push(root);
            prop_assert!(!is_included(index, size, &leaf, &path, &root));
        }

        #[test]
        fn consistency_proofs_are_those_of_the_definition(
            leaves in leaves(), until in any::<prop::sample::Index>(),
        ) {
            let (tiles, new) = (tree(&leaves), leaves.len() as u64);
            let old = until.index(leaves.len()) as u64 + 1;
            let path = hashes(&tiles, &consistency(old, new));
            prop_assert_eq!(&path, &subproof(old as usize, &leaves, true));
            let [old_root, new_root] =
                [old, new].map(|size| range_hash(&tiles, &(0..size)).expect("a root"));
            prop_assert!(is_consistent((old, &old_root), (new, &new_root), &path));
            let mut wrong = old_root;
            wrong[0] ^= 1;
            prop_assert!(!is_consistent((old, &wrong), (new, &new_root), &path));
            prop_assert!(!is_consistent((old, &old_root), (new, &wrong), &path));
            for n in 0..path.len() {
                let mut altered = path.clone();
                altered[n][31] ^= 1;
                prop_assert!(!is_consistent((old, &old_root), (new, &new_root), &altered));
            }
        }
    }

    #[test]
    fn the_roots_published_with_certificate_transparency_are_met() {
        let leaves: Vec<Vec<u8>> = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ]
        .iter()
        .map(|hex| {
            let byte = |n| u8::from_str_radix(&hex[n..n + 2], 16).expect("hex");
            (0..hex.len()).step_by(2).map(byte).collect()
        })
        .collect();
        let expected = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let tiles = tree(&leaves);
        for (size, expected) in (0..).zip(expected) {
            let root = range_hash(&tiles, &(0..size)).expect("a root");
            assert_eq!(crate::envelope::EventHash(root).to_string(), expected, "size {size}");
        }
    }
}
