//! The tree's hashes in tiles of 256, and the edge at which it grows.

use std::collections::HashMap;

use super::merkle::{Hash, Node, Nodes, node_hash};

const HASH_BYTES: usize = 32;
/// Levels of the tree that a tile spans: it holds the hashes of the lowest of them.
const HEIGHT: u32 = 8;
const TILE_BYTES: usize = HASH_BYTES << HEIGHT;

/// Names a tile: its level, from 0 for the leaves, and its number on that level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    /// Level of tiles, each 8 levels of the tree.
    pub level: u8,
    /// Number on the level.
    pub index: u64,
}

impl TileId {
    /// The tile from which the node's hash is read or computed.
    #[must_use]
    pub fn of(node: Node) -> Self {
        // A tree of 2^64 leaves has 8 levels of tiles.
        let level = u8::try_from(node.level / HEIGHT).unwrap_or(u8::MAX);
        Self { level, index: (node.index << (node.level % HEIGHT)) >> HEIGHT }
    }
}

/// Tiles in memory: 1 to 256 hashes each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tiles(HashMap<TileId, Vec<u8>>);

impl Tiles {
    /// Whether the tile is here.
    #[must_use]
    pub fn contains(&self, tile: TileId) -> bool {
        self.0.contains_key(&tile)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Extend<(TileId, Vec<u8>)> for Tiles {
    fn extend<T: IntoIterator<Item = (TileId, Vec<u8>)>>(&mut self, tiles: T) {
        self.0.extend(tiles);
    }
}

impl Nodes for Tiles {
    fn node(&self, node: Node) -> Option<Hash> {
        let hashes = self.0.get(&TileId::of(node))?;
        let height = node.level % HEIGHT;
        let n_hashes = 1_usize << height;
        let first = usize::try_from((node.index << height) % (1 << HEIGHT)).ok()?;
        let (begin, end) = (first * HASH_BYTES, (first + n_hashes) * HASH_BYTES);
        complete(hashes.get(begin..end)?)
    }
}

/// The hash over a power of two of hashes.
fn complete(hashes: &[u8]) -> Option<Hash> {
    if hashes.len() <= HASH_BYTES {
        return hashes.try_into().ok();
    }
    let (left, right) = hashes.split_at(hashes.len() / 2);
    Some(node_hash(&complete(left)?, &complete(right)?))
}

/// The tiles that are not full yet: all that is needed to let the tree grow.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    size: u64,
    /// What stands so far in the last tile of each level; empty where it would begin a new one.
    open: Vec<Vec<u8>>,
    full: Vec<(TileId, Vec<u8>)>,
    /// Levels below this have changed since they were last taken.
    n_changed: usize,
}

/// The stored tiles do not make a tree of the size that they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tile is missing or too short")]
pub struct MissingTile;

impl Edge {
    /// The tiles which the edge of a tree of this size has.
    #[must_use]
    pub fn tiles(size: u64) -> Vec<TileId> {
        (0..8).filter_map(|level| Some(open_tile(level, size)?.0)).collect()
    }

    /// The edge of a tree of this size, read from its tiles.
    ///
    /// # Errors
    /// [`MissingTile`].
    pub fn read(size: u64, tiles: &Tiles) -> Result<Self, MissingTile> {
        let mut open = vec![];
        for level in 0..8 {
            open.push(match open_tile(level, size) {
                None => vec![],
                Some((id, n_bytes)) => {
                    let hashes = tiles.0.get(&id).and_then(|hashes| hashes.get(..n_bytes));
                    hashes.ok_or(MissingTile)?.to_vec()
                }
            });
        }
        Ok(Self { size, open, full: vec![], n_changed: 0 })
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf at the end.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for level in 0_u8.. {
            let at = usize::from(level);
            if self.open.len() == at {
                self.open.push(vec![]);
            }
            self.n_changed = self.n_changed.max(at + 1);
            let open = &mut self.open[at];
            open.extend(hash);
            if open.len() < TILE_BYTES {
                break;
            }
            let hashes = std::mem::take(open);
            let index = self.size >> (HEIGHT * (u32::from(level) + 1));
            let Some(above) = complete(&hashes) else { break };
            self.full.push((TileId { level, index }, hashes));
            hash = above;
        }
        self.size += 1;
    }

    /// The tiles that are new or longer since they were last taken.
    pub fn take_changed(&mut self) -> Vec<(TileId, Vec<u8>)> {
        let mut changed = std::mem::take(&mut self.full);
        for (level, hashes) in (0_u8..).zip(&self.open).take(self.n_changed) {
            if !hashes.is_empty() {
                let index = self.size >> (HEIGHT * (u32::from(level) + 1));
                changed.push((TileId { level, index }, hashes.clone()));
            }
        }
        self.n_changed = 0;
        changed
    }
}

/// The tile of this level that is not full in a tree of this size, and how long it is.
fn open_tile(level: u8, size: u64) -> Option<(TileId, usize)> {
    let n_nodes = size >> (HEIGHT * u32::from(level));
    let n_hashes = usize::try_from(n_nodes % (1 << HEIGHT)).ok().filter(|n| *n > 0)?;
    Some((TileId { level, index: n_nodes >> HEIGHT }, n_hashes * HASH_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_grows_the_same_however_it_is_interrupted() {
        let leaf = |n: u64| super::super::merkle::leaf_hash(&n.to_be_bytes());
        let n_leaves = 70_000;
        let (mut whole, mut at_once) = (Edge::default(), Tiles::default());
        (0..n_leaves).for_each(|n| whole.push(leaf(n)));
        at_once.extend(whole.take_changed());

        let (mut pieces, mut size, mut step) = (Tiles::default(), 0, 1);
        while size < n_leaves {
            let mut edge = Edge::read(size, &pieces).expect("an edge");
            (size..(size + step).min(n_leaves)).for_each(|n| edge.push(leaf(n)));
            size = edge.size();
            pieces.extend(edge.take_changed());
            step = step * 3 % 1021;
        }
        assert_eq!(pieces, at_once);
        assert_eq!(Edge::read(n_leaves + 1, &pieces).err(), Some(MissingTile));
    }
}
