//! Changing the denylist from the command line, beside running servers: adding rules of every kind, and taking some
//! out. Safe beside running servers, which add lines to the same file and follow it.

use super::error::{DenylistError, FaultyLine, FaultyLines};
use super::file::{Locked, WRITES, open_to_read, read, replaced_time_and_again, unread};
use super::parse::{Line, each_line};
use super::rule::{HEADER, Removal, Rule};
use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// Reads rules with their notes from a text: the lines of a denylist, with or without its header.
///
/// # Errors
/// The outer one when `reader` fails, the inner one with all faults; a last line without its end is one, since what was cut
/// short may be a wider rule.
pub fn read_rules(mut reader: impl BufRead) -> io::Result<Result<Vec<(Rule, String)>, String>> {
    let begins = reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") || reader.fill_buf()?.starts_with(HEADER.as_bytes());
    let header = if begins { String::new() } else { format!("{HEADER}\n") };
    let mut rules = Vec::new();
    let mut cut = false;
    let read = each_line(BufReader::new(header.as_bytes().chain(reader)), |line| {
        cut = !line.bytes.ends_with(b"\n");
        if let Some(rule) = line.rule {
            let text = String::from_utf8_lossy(line.bytes);
            let note = text.split_once('#').map_or("", |(_, note)| note.trim());
            rules.push((rule, note.chars().filter(|c| !c.is_control()).collect()));
        }
        Ok(())
    })?;
    Ok(match read {
        Err(faults) if begins => Err(faults.to_string()),
        Err(FaultyLines { first, more }) => {
            let first =
                first.into_iter().map(|FaultyLine { line, wrong }| FaultyLine { line: line - 1, wrong }).collect();
            Err(FaultyLines { first, more }.to_string())
        }
        Ok(_) if cut => Err("the last line has no end; was it cut short?".to_owned()),
        Ok(_) if rules.is_empty() && !begins => Err("there is no rule in it".to_owned()),
        Ok(_) => Ok(rules),
    })
}

/// Hands each line of the denylist `path` to `visit`; tells whether the last one [was torn](super::Parsed::torn).
///
/// # Errors
/// When it is missing, unreadable or faulty, or `visit` fails.
pub fn lines(path: &Path, visit: impl FnMut(Line<'_>) -> io::Result<()>) -> Result<bool, DenylistError> {
    let (file, _) = open_to_read(path)?;
    let read = each_line(BufReader::new(file), visit).map_err(|error| unread(path, error))?;
    read.map_err(|faults| DenylistError::Faulty(path.to_owned(), faults))
}

/// Adds those of `wanted`, rules with their notes, that say something new to the denylist `path`, all or none, and tells
/// which. When this returns, they are on the disk. With `dry_run` nothing is written.
///
/// # Errors
/// When the denylist is missing or faulty (then no server would take the rules up), or cannot be written to.
pub fn add<'a>(path: &Path, wanted: &'a [(Rule, String)], dry_run: bool) -> Result<Vec<&'a Rule>, DenylistError> {
    let news = || {
        let (rules, _) = read(path)?;
        let mut said = HashSet::new();
        let new = |(rule, _): &&(Rule, String)| !rules.has(rule) && said.insert(rule.bare());
        Ok::<Vec<_>, DenylistError>(wanted.iter().filter(new).collect())
    };
    if dry_run {
        return Ok(news()?.into_iter().map(|(rule, _)| rule).collect());
    }
    let failed = |error| DenylistError::NotChanged(path.to_owned(), error);
    read(path)?; // so that a missing or faulty one is told as such
    let mut file = Locked::open(path).map_err(failed)?;
    for _ in 0..WRITES {
        let news = news()?;
        let text: String = news.iter().map(|(rule, note)| line(rule, note)).collect();
        match text.as_str() {
            "" => file.sync(), // what was read may not be on the disk yet
            lines => file.append(lines),
        }
        .map_err(failed)?;
        if file.in_place().map_err(failed)? {
            return Ok(news.into_iter().map(|(rule, _)| rule).collect());
        }
        file.reopen().map_err(failed)?;
    }
    Err(failed(replaced_time_and_again(path)))
}

fn line(rule: &Rule, note: &str) -> String {
    match note {
        "" => format!("{rule}\n"),
        note => format!("{rule}  # {note}\n"),
    }
}

/// Takes all lines that `goes` names out of the denylist `path`, adds those of `instead`, and tells how many went. What is
/// left stays byte for byte, with its notes and in its order. When this returns, it is on the disk. With `dry_run`, and
/// where no line goes, nothing is written.
///
/// # Errors
/// When the denylist is missing or faulty, or cannot be replaced. It then stays as it is.
pub fn remove(
    path: &Path,
    mut goes: impl FnMut(&Line<'_>) -> bool,
    instead: &[Removal],
    dry_run: bool,
) -> Result<usize, DenylistError> {
    let mut gone = 0;
    lines(path, |line| {
        gone += usize::from(goes(&line));
        Ok(())
    })?;
    if dry_run || gone == 0 {
        return Ok(gone);
    }
    let failed = |error| DenylistError::NotChanged(path.to_owned(), error);
    let instead: String = instead.iter().map(|removal| format!("{removal}\n")).collect();
    let mut file = Locked::open(path).map_err(failed)?;
    for _ in 0..WRITES {
        let mut gone = 0;
        let stays = |line: &Line<'_>| {
            let goes = goes(line);
            gone += usize::from(goes);
            !goes
        };
        let replaced = file.rewrite(stays).map_err(failed)?;
        if replaced.map_err(|faults| DenylistError::Faulty(path.to_owned(), faults))? {
            if !instead.is_empty() {
                file.reopen().and_then(|()| file.append(&instead)).map_err(failed)?;
            }
            return Ok(gone);
        }
        file.reopen().map_err(failed)?;
    }
    Err(failed(replaced_time_and_again(path)))
}

#[cfg(test)]
mod tests {
    use super::super::live::Denylist;
    use super::super::tests::{epoch, grant};
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    const HEAD: &str = "authseal-denylist 1\n\n# ours\n";

    fn fresh(rules: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("denylist");
        fs::write(&path, format!("{HEAD}{rules}")).unwrap();
        (dir, path)
    }

    fn rules(texts: &[&str]) -> Vec<(Rule, String)> {
        texts.iter().map(|text| (Rule::parse(text).unwrap(), String::new())).collect()
    }

    fn read_back(path: &Path) -> String {
        fs::read_to_string(path).unwrap().strip_prefix(HEAD).unwrap().to_owned()
    }

    #[test]
    fn what_says_something_new_is_added_and_the_rest_is_not() {
        let (_dir, path) = fresh("epoch 3\nepoch 4 login-before 2026-11-23T10:00:00Z\n");
        let known = ["epoch 3", "epoch 4 login-before 2026-11-23T09:00:00Z"];
        let new = ["epoch 4 login-before 2026-11-23T11:00:00Z", "epoch 3 service dropbox", "epoch 5"];
        let wanted = rules(&[known.as_slice(), &new, &["epoch 5"]].concat());
        let named: Vec<_> = add(&path, &wanted, true).unwrap().into_iter().map(ToString::to_string).collect();
        assert_eq!(named, new);
        assert_eq!(read_back(&path).lines().count(), 2, "nothing was written");
        assert_eq!(add(&path, &wanted, false).unwrap().len(), 3);
        assert!(read_back(&path).ends_with(&format!("{}\n", new.join("\n"))), "{}", read_back(&path));
        assert!(add(&path, &wanted, false).unwrap().is_empty());
        let noted = [(Rule::parse(&format!("grant {}", grant(1))).unwrap(), "laptop stolen".to_owned())];
        add(&path, &noted, false).unwrap();
        assert!(read_back(&path).ends_with(&format!("grant {}  # laptop stolen\n", grant(1))));
    }

    #[test]
    fn rules_are_read_with_or_without_the_head_of_a_list_and_faults_are_told_by_the_lines_of_the_text() {
        let said = |text: &str| match read_rules(text.as_bytes()).unwrap() {
            Ok(rules) => rules.iter().map(|(rule, note)| format!("{rule}|{note};")).collect(),
            Err(said) => said,
        };
        for head in ["", "authseal-denylist 1\n", "\u{feff}authseal-denylist 1\n"] {
            let read = said(&format!("{head}epoch 3 #  leaked\u{7}: # 4 \n\n# a note\nepoch 5\n"));
            assert_eq!(read, "epoch 3|leaked: # 4;epoch 5|;", "{head:?}");
        }
        for (head, line) in [("", 2), ("authseal-denylist 1\n", 3)] {
            let faults = said(&format!("{head}epoch 3\nepoch x\n"));
            assert!(faults.starts_with(&format!("line {line}: ")), "{faults}");
            assert!(said(&format!("{head}epoch 3\nepoch 1")).contains("cut short"));
        }
        assert!(said("# none\n").contains("no rule") && said("").contains("no rule"));
        assert_eq!(said("authseal-denylist 1\n"), "", "a list without rules is one");
    }

    #[test]
    fn what_is_taken_out_leaves_all_else_byte_for_byte() {
        let kept = "\n  epoch   4 # why\r\n#epoch 3\ngrant 00112233445566778899aabbccddeeff through 4\nepoch 3 service box.com";
        let (dir, path) = fresh(&format!("epoch 3 # leaked\n{kept}"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        let link = dir.path().join("link");
        symlink("denylist", &link).unwrap();
        let goes = |line: &Line<'_>| line.rule == Some(Rule::Epoch(epoch(3)));
        assert_eq!(remove(&link, goes, &[], true).unwrap(), 1);
        assert!(read_back(&path).starts_with("epoch 3 # leaked"));
        assert_eq!(remove(&link, goes, &[], false).unwrap(), 1);
        assert_eq!(read_back(&path), kept);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o604);
        let inode = fs::metadata(&path).unwrap().ino();
        assert_eq!(remove(&path, goes, &[], false).unwrap(), 0);
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "nothing to do, nothing is replaced");
    }

    #[test]
    fn a_list_with_faults_is_not_changed() {
        let (_dir, path) = fresh("epoch x\nepoch 3\n");
        let faulty = |error: DenylistError| assert!(matches!(error, DenylistError::Faulty(..)), "{error}");
        faulty(add(&path, &rules(&["epoch 5"]), false).unwrap_err());
        faulty(remove(&path, |_| true, &[], false).unwrap_err());
        assert_eq!(read_back(&path), "epoch x\nepoch 3\n");
        fs::remove_file(&path).unwrap();
        assert!(matches!(add(&path, &rules(&["epoch 5"]), false), Err(DenylistError::Missing(_))));
        assert!(matches!(remove(&path, |_| true, &[], false), Err(DenylistError::Missing(_))));
    }

    #[test]
    fn taking_lines_out_loses_none_that_servers_and_others_add_meanwhile() {
        let (_dir, path) = fresh("");
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let adders: Vec<_> = (0..3u8)
                .map(|adder| {
                    let path = &path;
                    scope.spawn(move || {
                        let server = Denylist::open(path).unwrap();
                        for number in 0..30 {
                            let grant = grant(adder * 64 + number);
                            match number % 2 {
                                0 => server.append(grant, epoch(4), 0).unwrap(),
                                _ => drop(add(path, &rules(&[&format!("grant {grant}")]), false).unwrap()),
                            }
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                let decoy = rules(&["epoch 9"]);
                while !over.load(Ordering::Acquire) {
                    add(&path, &decoy, false).unwrap();
                    remove(&path, |line| line.rule == Some(Rule::Epoch(epoch(9))), &[], false).unwrap();
                }
            });
            adders.into_iter().for_each(|adder| adder.join().unwrap());
            over.store(true, Ordering::Release);
        });
        let text = read_back(&path);
        for number in (0..3u8).flat_map(|adder| (0..30).map(move |number| adder * 64 + number)) {
            assert_eq!(text.matches(&grant(number).to_string()).count(), 1, "{text}");
        }
    }
}
