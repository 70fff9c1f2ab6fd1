-- 健康检查函数
local function is_server_healthy(host, port)
    local sock = socket.tcp()
    sock:settimeout(2) -- 设置超时时间
    local ok, err = sock:connect(host, port)
    if ok then
        sock:close()
        return true
    else
        print("Server " .. host .. ":" .. port .. " is unhealthy: " .. err)
        return false
    end
end
