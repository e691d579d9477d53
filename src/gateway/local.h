#pragma once

#include "gateway/connection.h"

namespace sollol::gateway {

/// Routes that the gateway answers by itself: `/`, `/api/version`, recommendations.
net::Task<void> serve_local(Connection& client);

/// Routes answered from what is known of all nodes: `/api/tags`, `/api/ps`, `/v1/models`;
/// `/api/show` and
/// `/v1/models/:model` go to a node that has the model.
net::Task<void> serve_aggregate(Connection& client);

}  // namespace sollol::gateway
