//! Tables of comma-separated values (RFC 4180).

/// Why a text is no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// A quoted field has no end.
    #[error("line {0}: a quotation mark has no other")]
    Unclosed(usize),
    /// Something follows a quoted field before the next comma.
    #[error("line {0}: a quotation mark stands inside a field")]
    Stray(usize),
    /// A row has another number of fields than the first.
    #[error("line {line}: {found} fields, the first line has {expected}")]
    Width {
        /// Counted from 1.
        line: usize,
        /// In this row.
        found: usize,
        /// In the first one.
        expected: usize,
    },
    /// There is no first line with the names of the columns.
    #[error("there is no line with the names of the columns")]
    Empty,
    /// There are more rows than may be.
    #[error("more than {0} rows")]
    TooLong(usize),
}

/// A table of RFC 4180, or one with plain line feeds: the first row names the columns, empty lines do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    columns: Vec<String>,
    /// Each with the line that it begins on.
    rows: Vec<(usize, Vec<String>)>,
}

impl Table {
    /// Reads a table of at most so many rows.
    pub fn parse(text: &str, most: usize) -> Result<Self, CsvError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = Reader {
            rest: text.chars().peekable(),
            line: 1,
        };
        let mut columns: Option<Vec<String>> = None;
        let mut rows = Vec::new();
        while let Some((line, row)) = reader.row()? {
            if row.len() == 1 && row[0].trim().is_empty() {
                continue;
            }
            let Some(names) = &columns else {
                let name = |name: &String| name.trim().to_ascii_lowercase();
                columns = Some(row.iter().map(name).collect());
                continue;
            };
            if row.len() != names.len() {
                let (found, expected) = (row.len(), names.len());
                return Err(CsvError::Width {
                    line,
                    found,
                    expected,
                });
            }
            if rows.len() == most {
                return Err(CsvError::TooLong(most));
            }
            rows.push((line, row));
        }
        let columns = columns.ok_or(CsvError::Empty)?;
        Ok(Self { columns, rows })
    }

    /// The names of the columns, in lower case.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The rows, each with the line that it begins on.
    pub fn rows(&self) -> impl Iterator<Item = (usize, Row<'_>)> {
        self.rows.iter().map(|(line, fields)| {
            let row = Row {
                columns: &self.columns,
                fields,
            };
            (*line, row)
        })
    }
}

/// A row of a [`Table`].
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    columns: &'a [String],
    fields: &'a [String],
}

impl<'a> Row<'a> {
    /// What stands in a column, trimmed, and without what tells spreadsheets that it is a text; none if nothing does, or
    /// there is no such column.
    pub fn get(self, column: &str) -> Option<&'a str> {
        let place = self.columns.iter().position(|name| name == column)?;
        let text = self.fields.get(place)?.trim();
        let text = match text.strip_prefix('\'') {
            Some(rest) if rest.starts_with(FORMULA) => rest,
            _ => text,
        };
        (!text.is_empty()).then_some(text)
    }
}

/// What a formula begins with.
const FORMULA: [char; 5] = ['=', '+', '-', '@', '\t'];

/// One row of RFC 4180. A field that a spreadsheet would take for a formula is told to be a text.
pub fn line(fields: &[&str]) -> String {
    let field = |text: &&str| {
        let text = match text.starts_with(FORMULA) {
            true => format!("'{text}"),
            false => (*text).to_owned(),
        };
        match text.contains([',', '"', '\r', '\n']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text,
        }
    };
    let fields: Vec<_> = fields.iter().map(field).collect();
    fields.join(",") + "\r\n"
}

struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn row(&mut self) -> Result<Option<(usize, Vec<String>)>, CsvError> {
        if self.rest.peek().is_none() {
            return Ok(None);
        }
        let line = self.line;
        let mut fields = Vec::new();
        loop {
            fields.push(self.field()?);
            match self.rest.next() {
                Some(',') => {}
                Some('\r') => {
                    self.rest.next_if_eq(&'\n');
                    break;
                }
                _ => break,
            }
        }
        self.line += 1;
        Ok(Some((line, fields)))
    }

    fn field(&mut self) -> Result<String, CsvError> {
        let mut field = String::new();
        if self.rest.next_if_eq(&'"').is_none() {
            while let Some(c) = self.rest.next_if(|c| !matches!(c, ',' | '\r' | '\n')) {
                field.push(c);
            }
            return match field.contains('"') {
                true => Err(CsvError::Stray(self.line)),
                false => Ok(field),
            };
        }
        let begun = self.line;
        loop {
            match self.rest.next() {
                None => return Err(CsvError::Unclosed(begun)),
                Some('"') if self.rest.next_if_eq(&'"').is_some() => field.push('"'),
                Some('"') => break,
                Some(c) => {
                    self.line += usize::from(c == '\n');
                    field.push(c);
                }
            }
        }
        match self.rest.peek() {
            None | Some(',' | '\r' | '\n') => Ok(field),
            Some(_) => Err(CsvError::Stray(self.line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_by_its_columns() {
        let text = "\u{feff}Name, UPN ,x\r\n\"A \"\"B\"\"\",a@b.c,\n\n\"two\nlines\" ,b@b.c,1\n";
        assert_eq!(Table::parse(text, 9), Err(CsvError::Stray(5)));
        let text = text.replace("\" ,b", "\",b");
        let table = Table::parse(&text, 9).unwrap();
        let rows: Vec<_> = table.rows().collect();
        assert_eq!(table.columns(), ["name", "upn", "x"]);
        assert_eq!((rows[0].0, rows[0].1.get("name")), (2, Some("A \"B\"")));
        assert_eq!(
            (rows[0].1.get("upn"), rows[0].1.get("x")),
            (Some("a@b.c"), None)
        );
        assert_eq!((rows[1].0, rows[1].1.get("name")), (4, Some("two\nlines")));
        assert_eq!(rows[1].1.get("nothing"), None);
    }

    /// What was written is read again, and no field is a formula.
    #[test]
    fn a_row_is_written_as_it_is_read() {
        let text = line(&["a", "b"]) + &line(&["x, \"y\"\nz", "=1+1"]);
        assert_eq!(text, "a,b\r\n\"x, \"\"y\"\"\nz\",'=1+1\r\n");
        let table = Table::parse(&text, 1).unwrap();
        let (_, row) = table.rows().next().unwrap();
        assert_eq!(
            (row.get("a"), row.get("b")),
            (Some("x, \"y\"\nz"), Some("=1+1"))
        );
    }

    #[test]
    fn what_is_no_table_is_told_by_its_line() {
        let error = |text: &str| Table::parse(text, 2).unwrap_err();
        assert_eq!(error(""), CsvError::Empty);
        assert_eq!(error("\n\n"), CsvError::Empty);
        assert_eq!(error("a,b\n\"x"), CsvError::Unclosed(2));
        assert_eq!(error("a,b\nx\"y,z"), CsvError::Stray(2));
        assert_eq!(
            error("a,b\n1,2\n1"),
            CsvError::Width {
                line: 3,
                found: 1,
                expected: 2
            }
        );
        assert_eq!(error("a\n1\n2\n3"), CsvError::TooLong(2));
    }
}
