-- 基于地理位置路由(需要 IP 地址查询库)
local function route_by_location()
    local client_ip = ngx.var.remote_addr
    -- 查询 IP 地址的地理位置
    local location = get_location_by_ip(client_ip)
    if location == "China" then
        return backend_servers[1] -- 路由到中国服务器
    elseif location == "USA" then
        return backend_servers[2] -- 路由到美国服务器
    else
        return backend_servers[3] -- 路由到默认服务器
    end
end
