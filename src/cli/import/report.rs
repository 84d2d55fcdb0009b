//! What an import found, line by line: nothing that was there is passed over in silence. A line names settings and never
//! holds a value that may be secret; what comes from a file is shortened and freed of control characters.

use std::fmt::{self, Display};

/// What became of a setting.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Became {
    Taken,
    Differs,
    Idle,
    Left,
    Noticed,
    ToDo,
}

impl Became {
    const ALL: [Self; 6] = [Self::Taken, Self::Differs, Self::Idle, Self::Left, Self::Noticed, Self::ToDo];

    fn heading(self) -> &'static str {
        match self {
            Self::Taken => "Taken over",
            Self::Differs => "Different here",
            Self::Idle => "Without effect before",
            Self::Left => "Not taken over",
            Self::Noticed => "What users will notice",
            Self::ToDo => "Left to do",
        }
    }
}

/// The lines, in the order in which things were found.
#[derive(Default)]
pub(in crate::cli) struct Report(Vec<(Became, String)>);

impl Report {
    pub(super) fn add(&mut self, became: Became, line: impl Into<String>) {
        let line = (became, line.into());
        if !self.0.contains(&line) {
            self.0.push(line);
        }
    }

    pub(super) fn append(&mut self, other: &Self) {
        other.0.iter().for_each(|(became, line)| self.add(*became, line));
    }

    /// For the log of a server.
    pub(in crate::cli) fn lines(&self) -> impl Iterator<Item = (bool, String)> {
        let line = |(became, line): &(Became, String)| {
            let warns = matches!(became, Became::Left | Became::ToDo);
            (warns, format!("{}: {line}", became.heading().to_lowercase()))
        };
        self.0.iter().map(line)
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for became in Became::ALL {
            let mut lines = self.0.iter().filter(|(other, _)| *other == became).peekable();
            if lines.peek().is_some() {
                writeln!(f, "{}:", became.heading())?;
            }
            lines.try_for_each(|(_, line)| writeln!(f, "  {line}"))?;
        }
        Ok(())
    }
}

/// A name from a file, for people.
pub(super) fn shown(name: &str) -> String {
    let short: String = name.chars().take(60).collect();
    let rest = if short.len() < name.len() { "…" } else { "" };
    format!("`{}{rest}`", short.escape_debug())
}
