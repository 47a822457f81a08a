//! Calls: replies, refusals, deadlines, and whether a request may have been executed.

use super::*;

#[test]
fn a_call_returns_its_reply() {
    let b = Node::start(B);
    let hello = hello_from(A, Purpose::Call);
    let reply = block_on(call(&b.address.to_string(), &hello, b"hi", DEADLINE)).unwrap();
    assert_eq!(reply, "Some(n1) said hi");
    let tool = hello_from(NodeId::NONE, Purpose::Call);
    let mut caller = Caller::connect(&b.address.to_string(), &tool, DEADLINE).unwrap();
    for question in ["one", "two"] {
        let reply = caller.call(question.as_bytes(), DEADLINE).unwrap();
        assert_eq!(reply, format!("None said {question}"));
    }
}

#[test]
fn a_call_from_another_cluster_is_refused_and_not_executed() {
    let b = Node::start(B);
    let hello = Hello { cluster: 8, ..hello_from(A, Purpose::Call) };
    let error = block_on(call(&b.address.to_string(), &hello, b"hi", DEADLINE)).unwrap_err();
    assert!(matches!(error, CallError::Refused { .. }), "{error}");
    assert!(!error.may_have_happened());
    let error = Caller::connect(&b.address.to_string(), &hello, DEADLINE).unwrap_err();
    assert!(matches!(error, CallError::Refused { .. }), "{error}");
}

#[test]
fn a_call_that_gets_no_reply_in_time_may_have_happened() {
    let b = Node::start(B);
    let (hello, within) = (hello_from(A, Purpose::Call), Duration::from_millis(100));
    let address = b.address.to_string();
    let error = block_on(call(&address, &hello, b"never", within)).unwrap_err();
    assert!(matches!(error, CallError::Deadline { .. }), "{error}");
    assert!(error.may_have_happened());
    let mut caller = Caller::connect(&address, &hello, DEADLINE).unwrap();
    let error = caller.call(b"never", within).unwrap_err();
    assert!(matches!(error, CallError::Deadline { was_sent: true, .. }), "{error}");
}

#[test]
fn a_call_to_nobody_has_not_happened() {
    let address = {
        let listener = BlockingListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let hello = hello_from(A, Purpose::Call);
    let error = block_on(call(&address, &hello, b"hi", DEADLINE)).unwrap_err();
    assert!(matches!(error, CallError::Connect { .. }), "{error}");
    assert!(!error.may_have_happened());
    let error = Caller::connect(&address, &hello, DEADLINE).unwrap_err();
    assert!(matches!(error, CallError::Connect { .. }), "{error}");
}

#[test]
fn a_call_to_something_that_is_no_node_says_so() {
    let listener = BlockingListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let body = move || {
        let mut stream = listener.accept().unwrap().0;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        stream
    };
    let thread = Builder::new().spawn(body).unwrap();
    let hello = hello_from(A, Purpose::Call);
    let error = Caller::connect(&address, &hello, DEADLINE).unwrap_err();
    assert!(matches!(error, CallError::Lost { was_sent: false, .. }), "{error}");
    drop(thread.join().unwrap());
}
