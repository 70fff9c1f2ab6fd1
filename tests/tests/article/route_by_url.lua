-- 基于 URL 路由
local function route_by_url()
    local uri = ngx.var.request_uri
    if string.find(uri, "/api") then
        return backend_servers[1] -- 路由到 API 服务器
    elseif string.find(uri, "/static") then
        return backend_servers[2] -- 路由到静态资源服务器
    else
        return backend_servers[3] -- 路由到默认服务器
    end
end
