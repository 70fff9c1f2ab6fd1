-- 记录每个服务器的连接数
local server_connections = {}
for i = 1, server_count do
    server_connections[backend_servers[i]] = 0
end

-- 选择连接数最少的服务器
local function least_connections()
    local least_connected_server = backend_servers[1]
    for i = 2, server_count do
        if server_connections[backend_servers[i]] < server_connections[least_connected_server] then
            least_connected_server = backend_servers[i]
        end
    end
    return least_connected_server
end
