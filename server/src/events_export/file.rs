//! A file that knows the digest of what was written to it.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Writes, counts and hashes.
pub struct Hashed {
    file: BufWriter<File>,
    hasher: Sha256,
    n_bytes: u64,
}

impl Hashed {
    /// A new file; one that was left there unfinished is replaced.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        Ok(Self { file, hasher: Sha256::new(), n_bytes: 0 })
    }

    /// Brings everything to the disk; answers the size in bytes and the SHA-256.
    pub fn finish(mut self) -> io::Result<(u64, String)> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok((self.n_bytes, hex(&self.hasher.finalize())))
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.n_bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// SHA-256 of a file, in hexadecimal digits.
pub fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hasher, mut piece) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&piece[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
