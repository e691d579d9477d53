#pragma once

#include <string_view>

#include "gateway/connection.h"

namespace sollol::gateway {

/// Routes of the gateway itself: `/sollol/v1/…` and `/metrics`.
bool is_own_route(std::string_view path) noexcept;

/// `GET /sollol/v1/nodes|status|decisions`, `POST /sollol/v1/nodes`, `DELETE
/// /sollol/v1/nodes/NAME`, `POST /sollol/v1/nodes/NAME/drain|undrain`, `GET /metrics`. JSON; errors
/// as `{"error":…}`.
net::Task<void> serve_own_route(Connection& client);

}  // namespace sollol::gateway
