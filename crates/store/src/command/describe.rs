//! Rows as COMMAND INFO and COMMAND DOCS show them.
//! Owns: the form of these replies. Never: which rows a client asked for.
