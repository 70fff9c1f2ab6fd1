-- SPDX-License-Identifier: Apache-2.0
-- Names that these scripts may use and define. Run: luacheck --config lua/.luacheckrc lua
std = "lua54"
max_line_length = 120
read_globals = { "lb", "apache2", "ngx" }
-- The functions that directives name are globals of their script alone.
globals = { "select", "translate", "check", "finish" }
