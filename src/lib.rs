//! mod_lua_balancer
