//! Parsing of files of ids: one id per line, or CSV. A file is checked completely before any of it
//! is imported.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::Path,
};

use clap::ValueEnum;
use csv::{ByteRecord, Position, ReaderBuilder, Trim};

use crate::{cli::outcome::Failure, domain::ChildType};

/// The maximum size of a file in bytes, because it is kept in memory.
const MAX_FILE: u64 = 1 << 30;
/// The maximum length of a line in bytes. Ids are shorter, and binary files fail early.
const MAX_ID: usize = 4096;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The format of a file of ids.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// One id per line
    Lines,
    /// A header that names the columns, then one row per id
    Csv,
}

impl Format {
    /// The format that the extension of a file implies.
    pub(super) fn of(path: &Path) -> Self {
        match path.extension() {
            Some(extension) if extension.eq_ignore_ascii_case("csv") => Self::Csv,
            Some(_) | None => Self::Lines,
        }
    }
}

/// The collections that ids are for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// All ids are for this collection.
    Collection(&'a str),
    /// Each id is for the collection in the column with this name.
    Column(&'a str),
}

/// The ids for one collection, in the order of the file.
#[derive(Debug)]
pub(super) struct Ids {
    pub(super) collection: String,
    pub(super) ids: Vec<String>,
}

/// Reads a file of ids for lists of this type; `-` is standard input.
pub(super) fn read(
    path: &Path,
    format: Format,
    list: ChildType,
    target: Target<'_>,
    id_column: &str,
) -> Result<Vec<Ids>, Failure> {
    let is_standard = path == Path::new("-");
    let name = if is_standard {
        "standard input".into()
    } else {
        path.display().to_string()
    };
    let broken = |error: io::Error| format!("{name}: {error}");
    let input: Box<dyn Read> = if is_standard {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(broken)?)
    };
    let mut input = input.take(MAX_FILE + 1);
    let mut start = Vec::new();
    let mark = BYTE_ORDER_MARK.len() as u64;
    (&mut input)
        .take(mark)
        .read_to_end(&mut start)
        .map_err(broken)?;
    if start == BYTE_ORDER_MARK {
        start.clear();
    }
    let text = BufReader::new(Cursor::new(start).chain(&mut input));
    let mut lists = Lists::new(list);
    let read = match (format, target) {
        (Format::Lines, Target::Column(_)) => Err(": --collection-column needs CSV".into()),
        (Format::Lines, Target::Collection(collection)) => lists.lines(text, collection),
        (Format::Csv, _) => lists.rows(text, target, id_column),
    };
    read.map_err(|why| format!("{name}{why}"))?;
    if input.limit() == 0 {
        return Err(format!("{name}: has over {MAX_FILE} bytes; split it").into());
    }
    Ok(lists.read)
}

/// The state of reading a file.
struct Lists {
    /// The type of the ids.
    list: ChildType,
    read: Vec<Ids>,
    /// The index in `read` of each collection.
    places: HashMap<String, usize>,
}

/// What is wrong with a file, to be appended to its name.
type Problem = String;

fn problem(line: u64, why: &str) -> Problem {
    format!(", line {line}: {why}")
}

impl Lists {
    fn new(list: ChildType) -> Self {
        Self {
            list,
            read: Vec::new(),
            places: HashMap::new(),
        }
    }

    /// Reads a file with one id per line. Blank lines are ignored.
    fn lines(&mut self, mut text: impl BufRead, collection: &str) -> Result<(), Problem> {
        // Adds the collection even if the file has no ids for it, so that `--replace` empties its
        // list.
        self.of(collection);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = (&mut text)
                .take(MAX_ID as u64)
                .read_until(b'\n', &mut line)
                .map_err(|error| problem(number, &error.to_string()))?;
            if read == 0 {
                break;
            }
            if !line.trim_ascii().is_empty() {
                self.add(number, collection, &line)?;
            }
        }
        Ok(())
    }

    fn rows(
        &mut self,
        text: impl Read,
        target: Target<'_>,
        id_column: &str,
    ) -> Result<(), Problem> {
        let malformed = |error: csv::Error| format!(": {error}");
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(text);
        let header = reader.byte_headers().map_err(malformed)?.clone();
        let id_column = column(&header, id_column)?;
        let (collection_column, only) = match target {
            Target::Column(name) => (Some(column(&header, name)?), ""),
            Target::Collection(collection) => {
                self.of(collection);
                (None, collection)
            }
        };
        let mut row = ByteRecord::new();
        while reader.read_byte_record(&mut row).map_err(malformed)? {
            let line = row.position().map_or(0, Position::line);
            let id = &row[id_column];
            match collection_column {
                Some(at) => {
                    let collection = checked(line, ChildType::Collection, &row[at])?;
                    self.add(line, &collection, id)?;
                }
                None => self.add(line, only, id)?,
            }
        }
        Ok(())
    }

    fn add(&mut self, line: u64, collection: &str, id: &[u8]) -> Result<(), Problem> {
        let id = checked(line, self.list, id)?;
        self.of(collection).push(id);
        Ok(())
    }

    /// The ids for the collection so far.
    fn of(&mut self, collection: &str) -> &mut Vec<String> {
        let at = match self.places.get(collection) {
            Some(at) => *at,
            None => {
                self.places.insert(collection.into(), self.read.len());
                self.read.push(Ids {
                    collection: collection.into(),
                    ids: Vec::new(),
                });
                self.read.len() - 1
            }
        };
        &mut self.read[at].ids
    }
}

/// The index of the column with this name.
fn column(header: &ByteRecord, name: &str) -> Result<usize, Problem> {
    let mut found = (0..header.len()).filter(|at| &header[*at] == name.as_bytes());
    match (found.next(), found.next()) {
        (Some(at), None) => Ok(at),
        (Some(_), Some(_)) => Err(problem(1, &format!("two columns are named {name:?}"))),
        (None, _) => {
            let all: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
            Err(problem(
                1,
                &format!("no column is named {name:?}; columns: {all:?}"),
            ))
        }
    }
}

fn checked(line: u64, of: ChildType, id: &[u8]) -> Result<String, Problem> {
    if id.len() >= MAX_ID {
        return Err(problem(line, &format!("has {MAX_ID} bytes or more")));
    }
    // Invalid UTF-8 becomes U+FFFD, which no id contains.
    let text = String::from_utf8_lossy(id);
    let id = text.trim();
    match of.parse_id("", id) {
        Ok(id) => Ok(id.into()),
        Err(no) => Err(problem(line, &format!("{id:?} {}", no.constraint))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Target<'_> = Target::Collection("c");
    const SEVERAL: Target<'_> = Target::Column("set");

    /// Parses the text; returns each collection as `collection: ids`.
    fn read_text(text: &[u8], format: Format, target: Target<'_>) -> Result<Vec<String>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let read = read(file.path(), format, ChildType::Product, target, "id");
        let shown = |one: Ids| format!("{}: {}", one.collection, one.ids.join("|"));
        let name = file.path().to_str().unwrap();
        read.map(|all| all.into_iter().map(shown).collect())
            .map_err(|error| error.to_string().replace(name, "FILE"))
    }

    #[test]
    fn ids_are_read_from_lines_and_from_csv() {
        let quoted = "\u{feff}\"title\",\"id\"\n\"a \"\"b\"\"\nc\",\"x, y\"\n,\"\"\"q\"\"\"\n";
        for (text, format, target, expected) in [
            ("", Format::Lines, ONE, &["c: "][..]),
            (
                "a\r\n\n  b, \"c\"  \nä",
                Format::Lines,
                ONE,
                &["c: a|b, \"c\"|ä"],
            ),
            ("\u{feff}a\n", Format::Lines, ONE, &["c: a"]),
            ("id\n", Format::Csv, ONE, &["c: "]),
            ("\u{feff}id\r\n a \r\n\r\nb", Format::Csv, ONE, &["c: a|b"]),
            (quoted, Format::Csv, ONE, &["c: x, y|\"q\""]),
            (
                "set,id\nb,1\na,2\nb,3\nb,1\n",
                Format::Csv,
                SEVERAL,
                &["b: 1|3|1", "a: 2"],
            ),
            ("set,id\n", Format::Csv, SEVERAL, &[]),
        ] {
            let read = read_text(text.as_bytes(), format, target).unwrap();
            assert_eq!(read, expected, "{text:?}");
        }
    }

    #[test]
    fn malformed_input_is_reported_with_its_line() {
        let long = format!("a\n{}", "x".repeat(MAX_ID));
        let long_field = format!("id\n\"{}\"", "x".repeat(1 << 20));
        for (text, format, target, told) in [
            (
                &b"a\nb\tc\n"[..],
                Format::Lines,
                ONE,
                r#", line 2: "b\tc" must be made of"#,
            ),
            (b"a\n\xff\n", Format::Lines, ONE, ", line 2: \"\u{fffd}\" "),
            (
                long.as_bytes(),
                Format::Lines,
                ONE,
                ", line 2: has 4096 bytes",
            ),
            (
                b"a",
                Format::Lines,
                SEVERAL,
                ": --collection-column needs CSV",
            ),
            (
                b"",
                Format::Csv,
                ONE,
                ", line 1: no column is named \"id\"; columns: []",
            ),
            (
                b"Id,x\n",
                Format::Csv,
                ONE,
                r#", line 1: no column is named "id"; columns: ["Id", "x"]"#,
            ),
            (
                b"id,id\n",
                Format::Csv,
                ONE,
                r#", line 1: two columns are named "id""#,
            ),
            (
                b"id,x\n1\n",
                Format::Csv,
                ONE,
                ": CSV error: record 1 (line: 2, ",
            ),
            (b"id,x\n1,\n,\n", Format::Csv, ONE, ", line 3: \"\" "),
            (
                b"x,id\n\"\n\",1\n,\xc3\n",
                Format::Csv,
                ONE,
                ", line 4: \"\u{fffd}\" ",
            ),
            (
                b"set,id\na b,1\n",
                Format::Csv,
                SEVERAL,
                ", line 2: \"a b\" ",
            ),
            (
                b"id\n1\n",
                Format::Csv,
                SEVERAL,
                ", line 1: no column is named \"set\"",
            ),
            (
                long_field.as_bytes(),
                Format::Csv,
                ONE,
                ", line 2: has 4096 bytes",
            ),
        ] {
            let error = read_text(text, format, target).unwrap_err();
            assert!(
                error.starts_with(&format!("FILE{told}")),
                "{told} in {error}"
            );
        }
    }
}
