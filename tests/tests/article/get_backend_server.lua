-- 选择负载均衡算法,这里使用加权轮询
local function get_backend_server()
    local healthy_servers = {}
    for i = 1, server_count do
        local server = backend_servers[i]
        if is_server_healthy(server.host, server.port) then
            table.insert(healthy_servers, server)
        end
    end
    local healthy_server_count = #healthy_servers
    if healthy_server_count == 0 then
        print("No healthy servers available!")
        return nil -- 或者返回一个备用服务器
    end
    -- 在健康的服务器中选择一个
    local random_index = math.random(healthy_server_count)
    return healthy_servers[random_index]
end
