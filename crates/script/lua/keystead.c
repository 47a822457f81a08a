/*
** The functions that Keystead gives to the host of a script, as the global table `keystead'.
** The host takes it away before a script runs.
*/

#define keystead_c

#include "lua.h"
#include "lauxlib.h"
#include "lualib.h"
#include "keystead.h"

/* Calls the host: with the number of the function and the fuel that is left in front of the arguments. It answers with
** a status and the work that it did in front of what else there is:
** `true, work, results...', or `false, work, error', which is raised as it is, or
** `nil, work, message', which is raised with the place of the call in front. */
static int call_host (lua_State *L) {
  int n = lua_gettop(L);
  if (n > KEYSTEAD_ARGUMENTS_MAX) return luaL_error(L, "too many arguments");
  keystead_charge(L, KEYSTEAD_CALL_WORK + (size_t)n * KEYSTEAD_ARGUMENT_WORK);
  luaL_checkstack(L, 4, "too many arguments");
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_insert(L, 2);
  lua_pushnumber(L, keystead_fuel(L));
  lua_insert(L, 3);
  lua_call(L, n + 2, LUA_MULTRET);
  keystead_charge(L, (size_t)lua_tonumber(L, 2));
  if (lua_toboolean(L, 1))
    return lua_gettop(L) - 2;
  if (lua_isnil(L, 1)) {
    luaL_where(L, 1);
    lua_pushvalue(L, 3);
    lua_concat(L, 2);
  }
  else
    lua_settop(L, 3);
  return lua_error(L);
}

/* install(table, host, first, names...): functions of the host, counted from `first'. */
static int install (lua_State *L) {
  int n = lua_gettop(L);
  lua_Number number = luaL_checknumber(L, 3);
  int i;
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  luaL_checkstack(L, 4, "too many functions");
  for (i = 4; i <= n; i++) {
    lua_pushvalue(L, i);
    lua_pushvalue(L, 2);
    lua_pushnumber(L, number++);
    lua_pushcclosure(L, call_host, 2);
    lua_rawset(L, 1);
  }
  return 0;
}

/* close(guard, names...): gives the globals their guard and makes all tables read-only that a script finds. */
static int close (lua_State *L) {
  int n = lua_gettop(L);
  int i;
  keystead_set_readonly(L, 1);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, LUA_GLOBALSINDEX);
  lua_insert(L, -2);
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
  for (i = 2; i <= n; i++) {
    lua_pushvalue(L, i);
    lua_rawget(L, LUA_GLOBALSINDEX);
    if (lua_istable(L, -1)) keystead_set_readonly(L, lua_gettop(L));
    lua_pop(L, 1);
  }
  lua_pushliteral(L, "");
  if (lua_getmetatable(L, -1)) keystead_set_readonly(L, lua_gettop(L));
  keystead_set_readonly(L, LUA_GLOBALSINDEX);
  return 0;
}

/* What is in use differs between builds; a script that looked would tell them apart. */
static int nothing_in_use (lua_State *L) {
  lua_pushinteger(L, 0);
  return 1;
}

/* Makes of any error a table with `err', and with `source' and `line' of the Lua function nearest to it. */
static int describe (lua_State *L) {
  lua_Debug ar;
  int level;
  lua_settop(L, 1);
  if (lua_type(L, 1) == LUA_TUSERDATA) return 1;  /* an error of the host */
  if (!lua_istable(L, 1)) {
    const char *text = lua_tostring(L, 1);
    if (text == NULL)
      text = lua_isboolean(L, 1) ? (lua_toboolean(L, 1) ? "true" : "false") : luaL_typename(L, 1);
    lua_newtable(L);
    lua_pushfstring(L, "ERR %s", text);
    lua_setfield(L, 2, "err");
  }
  for (level = 1; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    if (ar.currentline >= 0) {
      int at = lua_gettop(L);
      lua_pushstring(L, ar.source);
      lua_setfield(L, at, "source");
      lua_pushinteger(L, ar.currentline);
      lua_setfield(L, at, "line");
      break;
    }
  }
  return 1;
}

void keystead_error_text (lua_State *L) {
  if (!lua_istable(L, -1)) return;
  lua_pushliteral(L, "err");
  lua_rawget(L, -2);
  if (lua_isstring(L, -1))
    lua_replace(L, -2);
  else
    lua_pop(L, 1);
}

/* run(f, ...): true and the first result, or false and the described error. */
static int run (lua_State *L) {
  int n = lua_gettop(L) - 1;
  int status;
  lua_pushcfunction(L, describe);
  lua_insert(L, 1);
  status = lua_pcall(L, n, 1, 1);
  lua_pushboolean(L, status == 0);
  lua_insert(L, -2);
  return 2;
}

static int fuel (lua_State *L) {
  if (lua_isnumber(L, 1))
    keystead_set_fuel(L, lua_tonumber(L, 1));
  lua_pushnumber(L, keystead_fuel(L));
  return 1;
}

static int seal (lua_State *L) {
  keystead_set_readonly(L, 1);
  return 0;
}

static int set_pow (lua_State *L) {
  lua_settop(L, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, KEYSTEAD_POW);
  return 0;
}

static const luaL_Reg functions[] = {
  {"close", close},
  {"fuel", fuel},
  {"install", install},
  {"run", run},
  {"seal", seal},
  {"set_pow", set_pow},
  {NULL, NULL}
};

/* Globals of Lua that Redis does not offer, or that know of addresses, files or the process. */
static const char *const removed[] = {
  "dofile", "getfenv", "loadfile", "newproxy", "print", "setfenv", NULL
};

void keystead_open (lua_State *L) {
  int i;
  for (i = 0; removed[i] != NULL; i++) {
    lua_pushnil(L);
    lua_setglobal(L, removed[i]);
  }
  lua_pushcfunction(L, nothing_in_use);
  lua_setglobal(L, "collectgarbage");
  lua_pushcfunction(L, nothing_in_use);
  lua_setglobal(L, "gcinfo");
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  lua_setglobal(L, "keystead");
}

/* mlua names the libraries of files, processes and debugging; here they are empty. */
LUALIB_API int luaopen_io (lua_State *L) { lua_newtable(L); return 1; }
LUALIB_API int luaopen_os (lua_State *L) { lua_newtable(L); return 1; }
LUALIB_API int luaopen_debug (lua_State *L) { lua_newtable(L); return 1; }
LUALIB_API int luaopen_package (lua_State *L) { lua_newtable(L); return 1; }
