//! Scripts and libraries of functions, which clients bring: two stores come to one reply and one state (INV-LUA1), a reply that
//! a client can read, and nobody falls (INV-LUA2).

use keystead_resp::skip_reply;
use keystead_store::{Store, StoreConfig};
use keystead_types::{ApplyContext, LogIndex, UnixMillis};

use crate::input::Input;

const CONFIG: StoreConfig = StoreConfig { hash_seed: 42, has_every_slot: true };
const CTX: ApplyContext = ApplyContext { index: LogIndex(1), now: UnixMillis(1_000_000), seed: 3 };

/// The first byte decides what the rest is: a script, a library, what a library of Lua decodes.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.u8();
    let text = input.rest();
    let library = [&b"#!lua name=l\n"[..], text].concat();
    let command: Vec<&[u8]> = match choice % 8 {
        0..=2 => vec![b"EVAL", text, b"2", b"a", b"h", b"one", b"2"],
        3 => vec![b"EVAL_RO", text, b"2", b"a", b"h", b"one", b"2"],
        4 => vec![b"FUNCTION", b"LOAD", &library],
        5 => vec![b"EVAL", b"return cmsgpack.pack(cmsgpack.unpack(ARGV[1]))", b"0", text],
        6 => vec![b"EVAL", b"return cjson.encode(cjson.decode(ARGV[1]))", b"0", text],
        _ => vec![b"EVAL", b"return {struct.unpack(ARGV[1],ARGV[2])}", b"0", text, text],
    };
    let (mut one, mut other) = (Store::new(CONFIG), Store::new(CONFIG));
    let replies = [&mut one, &mut other].map(|store| {
        call(store, &[b"SET", b"a", b"12"]);
        call(store, &[b"HSET", b"h", b"f", b"v", b"g", b"1.5"]);
        call(store, &command)
    });
    assert_eq!(replies[0], replies[1], "INV-LUA1: two replies");
    assert_eq!(one.digest(), other.digest(), "INV-LUA1: two states");
    assert_eq!(skip_reply(&replies[0]), Ok(Some(replies[0].len())), "a reply that nobody can read");
}

fn call(store: &mut Store, command: &[&[u8]]) -> Vec<u8> {
    let mut reply = Vec::new();
    let _outcome = super::commands::apply(store, &CTX, command, &mut reply);
    reply
}

/// A script for each part of the language and of the libraries.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let scripts: [&[u8]; 10] = [
        b"return {KEYS[1],ARGV[2],1.5,true,{ok='x'}}",
        b"local t={} for i=1,9 do t[i]=i*2 t['k'..i]={} end for k,v in pairs(t) do t[k]=nil end return #t",
        b"redis.call('set',KEYS[1],redis.call('hget',KEYS[2],'g')+1) return redis.pcall('incr',KEYS[1])",
        b"return ('a b'):gsub('(%w) ?','%1,'):format('%5.2f',1):rep(3):byte(1,-1)",
        b"local f=coroutine.wrap(function(...) coroutine.yield(select('#',...)) end) return {f(1,2),pcall(f)}",
        b"redis.setresp(3) return {map={a={double=0.5}},set={x=true},big_number='1'}",
        b"return setmetatable({},{__index=function(t,k) return k..math.random(1,5) end}).x",
        b"table.sort(ARGV,function(a,b) return a>b end) return {unpack(ARGV),table.concat(ARGV,'-')}",
        b"return {bit.bxor(1,2),cjson.encode({1,{a=2}}),struct.pack('>I2s',1,'x'),redis.sha1hex('')}",
        b"return loadstring('return '..ARGV[2]..'^2')()",
    ];
    let mut seeds: Vec<Vec<u8>> = scripts.map(|text| [&[0][..], text].concat()).to_vec();
    seeds.extend(scripts.map(|text| [&[3][..], text].concat()));
    let library: &[u8] = b"redis.register_function{function_name='f',callback=function(k,a) return k end,flags={'no-writes'}}";
    let others: [(u8, &[u8]); 6] = [
        (4, library),
        (4, b"redis.register_function('g',function() return 1 end)"),
        (5, b"\x93\x01\xa1x\xcb\x3f\xf8\0\0\0\0\0\0"),
        (5, b"\x82\xa1a\xc3\xa1b\x92\xc0\xcd\x01\x00"),
        (6, b"{\"a\":[1,2.5e3,null,\"\\u00e9\\ud83d\\ude00\"],\"b\":{}}"),
        (7, b">!4bIc0sd"),
    ];
    for (choice, text) in others {
        seeds.push([&[choice][..], text].concat());
    }
    seeds
}
