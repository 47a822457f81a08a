/*
** What Keystead adds to Lua 5.1.5; every other change is marked KEYSTEAD where it stands.
**
** A script runs on every replica and must come to the same end on all of them. Therefore
** - objects are numbered as they are made, and hashed and shown by number instead of by address;
** - work is counted in `fuel', in C functions too, and a script whose fuel is spent is stopped;
** - strings are compared as bytes, powers come from a function of the registry, NaN has one spelling;
** - numbers beyond every integer become the lowest one, as on x86-64: C leaves it to the processor;
** - tables can be made read-only; binary chunks, files, processes and the debug library are left out;
** - the C stack that a pattern takes is bounded, and so is the number of arguments of a function of the host.
*/

#ifndef keystead_h
#define keystead_h

#include <stddef.h>
#include "lua.h"

#define KEYSTEAD_FUEL_UNLIMITED (1LL << 60)
/* One charge at most: what is larger fails for memory anyway. */
#define KEYSTEAD_CHARGE_MAX ((size_t)1 << 40)
#define KEYSTEAD_STRING_MAX ((size_t)1 << 30)
#define KEYSTEAD_MATCH_DEPTH_MAX 200
/* Longest text that is taken for a number: reading one takes longer the longer it is. */
#define KEYSTEAD_NUMBER_MAX 512
/* Nodes of a table's chain that a look may pass before it is charged for more. */
#define KEYSTEAD_CHAIN_FREE 4
/* Charges what looks into the table passed since the last time. */
#define keystead_charge_chains(L,t) \
  { if ((t)->passed) { keystead_charge(L, (t)->passed); (t)->passed = 0; } }
/* Work of a call of the host, and of each of its arguments: about what handing it over takes. */
#define KEYSTEAD_CALL_WORK 40
#define KEYSTEAD_ARGUMENT_WORK 8
/* Work of reading a text as a number. */
#define KEYSTEAD_READ_WORK(l) (1 + ((l) < KEYSTEAD_NUMBER_MAX ? (l) : KEYSTEAD_NUMBER_MAX) / 4)
/* Work of writing a number as text. */
#define KEYSTEAD_DIGITS_WORK 30
/* As many results as `unpack' of Redis gives. */
#define KEYSTEAD_UNPACK_MAX 7997
/* Arguments of a function of the host: a command, its first words, and what was unpacked. */
#define KEYSTEAD_ARGUMENTS_MAX 8500
#define KEYSTEAD_STOPPED "script did more work than a script may do"
#define KEYSTEAD_READONLY "Attempt to modify a readonly table"
#define KEYSTEAD_POW "keystead.pow"

/* Counts work. The error comes with the next instruction. */
void keystead_charge (lua_State *L, size_t work);
/* Counts work; raises an error if the fuel is spent. */
void keystead_spend (lua_State *L, size_t work);
void keystead_set_fuel (lua_State *L, double fuel);
double keystead_fuel (lua_State *L);
void keystead_set_readonly (lua_State *L, int idx);
/* Puts the text of an error of a command in the place of its table, as `pcall' of Redis does. */
void keystead_error_text (lua_State *L);
unsigned int keystead_serial (lua_State *L, int idx);
/* The number as an unsigned integer of 64 bits; what is below zero is taken modulo 2^64. */
unsigned long long keystead_unsigned (double number);
/* Leaves the table `keystead' among the globals, for the host to take away. */
void keystead_open (lua_State *L);

#endif
