/*
** The functions that Keystead gives to the host of a script, as the global table `keystead'.
** The host takes it away before a script runs.
*/

#define keystead_c

#include "lua.h"
#include "lauxlib.h"
#include "lualib.h"
#include "keystead.h"

/* Calls a function of the host. It answers `true, results...', or `false, error', which is raised as it is, or
** `nil, message', which is raised with the place of the call in front. */
static int call_host (lua_State *L) {
  int n = lua_gettop(L);
  if (n > KEYSTEAD_ARGUMENTS_MAX) return luaL_error(L, "too many arguments");
  keystead_charge(L, KEYSTEAD_CALL_WORK + (size_t)n * KEYSTEAD_ARGUMENT_WORK);
  luaL_checkstack(L, 2, "too many arguments");
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, n, LUA_MULTRET);
  if (lua_toboolean(L, 1))
    return lua_gettop(L) - 1;
  if (lua_isnil(L, 1)) {
    luaL_where(L, 1);
    lua_pushvalue(L, 2);
    lua_concat(L, 2);
  }
  else
    lua_settop(L, 2);
  return lua_error(L);
}

static int wrap (lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_pushcclosure(L, call_host, 1);
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

static int charge (lua_State *L) {
  keystead_charge(L, (size_t)luaL_checknumber(L, 1));
  return 0;
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
  {"charge", charge},
  {"fuel", fuel},
  {"run", run},
  {"seal", seal},
  {"set_pow", set_pow},
  {"wrap", wrap},
  {NULL, NULL}
};

void keystead_open (lua_State *L) {
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  lua_setglobal(L, "keystead");
}

/* mlua names the libraries of files, processes and debugging; here they are empty. */
LUALIB_API int luaopen_io (lua_State *L) { lua_newtable(L); return 1; }
LUALIB_API int luaopen_os (lua_State *L) { lua_newtable(L); return 1; }
LUALIB_API int luaopen_debug (lua_State *L) { lua_newtable(L); return 1; }
LUALIB_API int luaopen_package (lua_State *L) { lua_newtable(L); return 1; }
