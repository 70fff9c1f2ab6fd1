-- 定时健康检查
local function periodic_health_check()
    ngx.timer.at(10, function() -- 每 10 秒执行一次
        -- 执行健康检查
        for i = 1, server_count do
            local server = backend_servers[i]
            local healthy = is_server_healthy(server.host, server.port)
            -- 根据健康状态更新服务器状态
            if healthy then
                -- ...
            else
                -- ...
            end
        end
        periodic_health_check() -- 再次启动定时器
    end)
end
-- 启动定时健康检查
periodic_health_check()
