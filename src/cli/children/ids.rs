//! A file of ids, one a line, read batch by batch.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
};

use crate::{cli::outcome::Failure, domain::ChildType};

/// No line is longer in bytes: what has no line ends is no file of ids, and is not to
/// fill the memory.
const MAX_LINE: u64 = 4096;

/// Files over so many bytes are not read for their lines alone.
const MAX_COUNTED: u64 = 1 << 28;

/// A file of ids, as far as it is read.
pub(super) struct Ids {
    name: String,
    /// What the ids are of.
    list: ChildType,
    line: u64,
    input: Box<dyn BufRead + Send>,
}

impl Ids {
    /// Opens a file of ids of that list; `-` is standard input.
    pub(super) fn open(path: &Path, list: ChildType) -> Result<Self, Failure> {
        let standard = path == Path::new("-");
        let name = if standard {
            "standard input".into()
        } else {
            path.display().to_string()
        };
        let input: Box<dyn BufRead + Send> = if standard {
            Box::new(BufReader::new(io::stdin()))
        } else {
            let file = File::open(path).map_err(|error| format!("{name}: {error}"))?;
            Box::new(BufReader::new(file))
        };
        Ok(Self {
            name,
            list,
            line: 0,
            input,
        })
    }

    /// The next ids, `most` but at the end; none after it. Blank lines count for
    /// nothing.
    pub(super) fn batch(&mut self, most: usize) -> Result<Vec<String>, Failure> {
        let mut ids = Vec::new();
        while ids.len() < most {
            let Some(line) = self.line()? else {
                break;
            };
            let id = line.trim();
            if id.is_empty() {
                continue;
            }
            match self.list.parse_id("", id) {
                Ok(id) => ids.push(id.into()),
                Err(violation) => {
                    return Err(self.problem(&format!("{id:?} {}", violation.constraint)));
                }
            }
        }
        Ok(ids)
    }

    fn line(&mut self) -> Result<Option<String>, Failure> {
        let mut line = Vec::new();
        self.line += 1;
        let length = (&mut self.input)
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .map_err(|error| self.problem(&error.to_string()))?;
        if length as u64 == MAX_LINE {
            return Err(self.problem(&format!("the line has {MAX_LINE} bytes or more")));
        }
        // What is not UTF-8 becomes a character that no id has.
        let line = String::from_utf8_lossy(&line).into_owned();
        Ok((length > 0).then_some(line))
    }

    fn problem(&self, what: &str) -> Failure {
        format!("{}, line {}: {what}", self.name, self.line).into()
    }
}

/// How many lines a file has; none where that can't be told in a moment.
pub(super) fn line_count(path: &Path) -> Option<u64> {
    let file = File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > MAX_COUNTED {
        return None;
    }
    let mut input = BufReader::with_capacity(1 << 16, file);
    let mut lines = 0;
    loop {
        let part = input.fill_buf().ok()?;
        if part.is_empty() {
            return Some(lines);
        }
        lines += part.iter().filter(|byte| **byte == b'\n').count() as u64;
        let length = part.len();
        input.consume(length);
    }
}
