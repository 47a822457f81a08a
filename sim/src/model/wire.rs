//! How the workload's commands look on the wire.
//! Owns: their words, and what is read out of their replies. Never: what they mean (see `model`).

use keystead_resp::{Value, encode};

use super::{
    Ask, Command, FIELD, Form, KINDS, LIST, Reply, SET, SORTED_SET, STREAM, elsewhere, number,
};

/// Calls each command in its arguments, which stands there behind the number of its words, and answers as EXEC does.
const CALL_ALL: &str = "local all, at = {}, 1 \
    while ARGV[at] do \
        local last = at + tonumber(ARGV[at]) \
        all[#all + 1] = redis.call(unpack(ARGV, at + 1, last)) \
        at = last + 1 \
    end \
    return all";

/// The key of a cell.
#[must_use]
pub fn key(tag: &str, cell: usize) -> Vec<u8> {
    const NAMES: [&str; KINDS] = ["a", "b", "c", "h", "l", "s", "z", "x"];
    format!("{{{tag}}}{}", NAMES[cell % KINDS]).into_bytes()
}

impl Ask {
    /// Appends the operation on the object `tag` as a client sends it that has selected the first command's database.
    pub fn write(&self, tag: &str, out: &mut Vec<u8>) {
        let words: Vec<Vec<Vec<u8>>> =
            self.commands.iter().map(|command| command.words(tag)).collect();
        match self.form {
            Form::Alone => words.iter().for_each(|words| send(out, words)),
            Form::Transaction => {
                encode::command(out, [&b"MULTI"[..]]);
                words.iter().for_each(|words| send(out, words));
                encode::command(out, [&b"EXEC"[..]]);
            }
            Form::Script => {
                let commands = self.commands.iter().filter(|it| !matches!(it, Command::Select(_)));
                let keys: Vec<Vec<u8>> = commands.map(|it| key(tag, it.cell())).collect();
                let mut script = vec![b"EVAL".to_vec(), CALL_ALL.into(), decimal(keys.len())];
                script.extend(keys);
                for words in words {
                    script.push(decimal(words.len()));
                    script.extend(words);
                }
                send(out, &script);
            }
        }
    }

    /// How many replies come before the one that counts: OK, and QUEUED for each command of a transaction.
    #[must_use]
    pub fn replies_before(&self) -> usize {
        if self.form == Form::Transaction { 1 + self.commands.len() } else { 0 }
    }
}

impl Command {
    fn words(&self, tag: &str) -> Vec<Vec<u8>> {
        let key = key(tag, self.cell());
        let field = b"f".to_vec();
        let (name, rest) = match (self, self.kind()) {
            (Self::Get(_), FIELD) => ("HGET", vec![key, field]),
            (Self::Get(_), LIST) => ("LRANGE", vec![key, b"0".to_vec(), b"-1".to_vec()]),
            (Self::Get(_), SET) => ("SMEMBERS", vec![key]),
            (Self::Get(_), SORTED_SET) => ("ZRANGE", vec![key, b"0".to_vec(), b"-1".to_vec()]),
            (Self::Get(_), STREAM) => ("XRANGE", vec![key, b"-".to_vec(), b"+".to_vec()]),
            (Self::Get(_), _) => ("GET", vec![key]),
            (Self::Set(_, value), FIELD) => ("HSET", vec![key, field, value.clone()]),
            (Self::Set(_, value), _) => ("SET", vec![key, value.clone()]),
            (Self::SetIfAbsent(_, value), FIELD) => ("HSETNX", vec![key, field, value.clone()]),
            (Self::SetIfAbsent(_, value), _) => ("SETNX", vec![key, value.clone()]),
            (Self::GetSet(_, value), _) => ("GETSET", vec![key, value.clone()]),
            (Self::Append(_, value), _) => ("APPEND", vec![key, value.clone()]),
            (Self::Add(_, by), _) => ("INCRBY", vec![key, decimal(by)]),
            (Self::Delete(_), FIELD) => ("HDEL", vec![key, field]),
            (Self::Delete(_), _) => ("DEL", vec![key]),
            (Self::Put(_, value), SET) => ("SADD", vec![key, value.clone()]),
            (Self::Put(_, value), SORTED_SET) => {
                ("ZADD", vec![key, decimal(number(value)), value.clone()])
            }
            (Self::Put(_, value), STREAM) => {
                ("XADD", vec![key, b"*".to_vec(), field, value.clone()])
            }
            (Self::Put(_, value), _) => ("RPUSH", vec![key, value.clone()]),
            (Self::Take(_), SORTED_SET) => ("ZPOPMIN", vec![key]),
            (Self::Take(_), _) => ("LPOP", vec![key]),
            (Self::Await(_), SORTED_SET) => ("BZPOPMIN", vec![key, b"0".to_vec()]),
            (Self::Await(_), _) => ("BLPOP", vec![key, b"0".to_vec()]),
            (Self::Move(cell), _) => ("MOVE", vec![key, decimal(elsewhere(*cell) / KINDS)]),
            (Self::Copy(cell), _) => {
                let to = decimal(elsewhere(*cell) / KINDS);
                ("COPY", vec![key.clone(), key, b"DB".to_vec(), to, b"REPLACE".to_vec()])
            }
            (Self::Select(database), _) => ("SELECT", vec![decimal(database)]),
            (Self::Swap, _) => ("SWAPDB", vec![b"0".to_vec(), b"1".to_vec()]),
        };
        [vec![name.into()], rest].concat()
    }

    /// What the command answered, in what came over the wire; `None` if that is no answer to it.
    #[must_use]
    pub fn reply(&self, value: &Value) -> Option<Reply> {
        match (self, value) {
            // The id follows from the time, which nobody here knows.
            (Self::Put(..), Value::Bulk(_)) if self.kind() == STREAM => Some(Reply::Ok),
            // The member and its score.
            (Self::Take(_), Value::Array(pair)) if self.kind() == SORTED_SET => {
                Some(match pair.first() {
                    Some(member) => Reply::Bytes(member.as_bytes()?.to_vec()),
                    None => Reply::Nil,
                })
            }
            // The key stands before it.
            (Self::Await(_), Value::Array(pair)) => {
                Some(Reply::Bytes(pair.get(1)?.as_bytes()?.to_vec()))
            }
            (Self::Get(_), Value::Array(_) | Value::Set(_)) if self.kind() >= LIST => {
                let tokens = value.as_elements()?.iter().map(token);
                let mut tokens: Vec<Vec<u8>> = tokens.collect::<Option<_>>()?;
                if self.kind() == SET {
                    tokens.sort_by_key(|token| number(token));
                }
                Some(if tokens.is_empty() { Reply::Nil } else { Reply::Bytes(tokens.concat()) })
            }
            (_, Value::Simple(text)) if text == "OK" => Some(Reply::Ok),
            (_, Value::Integer(number)) => Some(Reply::Integer(*number)),
            (_, Value::Bulk(bytes)) => Some(Reply::Bytes(bytes.clone())),
            (_, Value::Null) => Some(Reply::Nil),
            _ => None,
        }
    }
}

fn send(out: &mut Vec<u8>, words: &[Vec<u8>]) {
    encode::command(out, words.iter().map(Vec::as_slice));
}

fn decimal(number: impl ToString) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// The token in an element of a cell of many: the element itself, or the value behind the field of a stream's entry.
fn token(element: &Value) -> Option<Vec<u8>> {
    let value = match element.as_elements() {
        Some(entry) => entry.get(1)?.as_elements()?.get(1)?,
        None => element,
    };
    value.as_bytes().map(<[u8]>::to_vec)
}
