-- balancer.lua
local backend_servers = {
    { host = "192.168.1.10", port = 8080, weight = 1 },
    { host = "192.168.1.11", port = 8080, weight = 2 },
    { host = "192.168.1.12", port = 8080, weight = 1 }
}
local server_count = #backend_servers
local current_index = 0

-- 轮询算法
local function round_robin()
    current_index = (current_index % server_count) + 1
    return backend_servers[current_index]
end

-- 加权轮询算法
local total_weight = 0
for i = 1, server_count do
    total_weight = total_weight + backend_servers[i].weight
end
local function weighted_round_robin()
    local random_weight = math.random(total_weight)
    local current_weight = 0
    for i = 1, server_count do
        current_weight = current_weight + backend_servers[i].weight
        if random_weight <= current_weight then
            return backend_servers[i]
        end
    end
    return backend_servers[1] -- 默认返回第一个服务器
end

-- 选择负载均衡算法,这里使用加权轮询
local function get_backend_server()
    --return round_robin()
    return weighted_round_robin()
end

local backend = get_backend_server()
local backend_url = "http://" .. backend.host .. ":" .. backend.port .. "/"

-- 设置请求头,将请求转发到后端服务器
ngx.req.set_header("X-Backend-Server", backend.host .. ":" .. backend.port)
ngx.req.set_header("X-Load-Balancer", "Apache+Lua")
ngx.req.set_uri(ngx.var.request_uri)
ngx.req.set_header("Host", backend.host .. ":" .. backend.port)

-- 将请求转发到后端服务器
ngx.redirect(backend_url, ngx.HTTP_MOVED_TEMPORARILY)
