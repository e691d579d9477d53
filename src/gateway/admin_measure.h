#pragma once

#include "gateway/connection.h"

namespace sollol::gateway {

/// `POST /sollol/v1/locality/measure`: begins to measure and streams NDJSON, a line for each probe
/// and one with `"done":true` and what was found. A client that leaves ends it.
net::Task<void> serve_measurement(Connection& client);

/// `GET` of the same: the measurement under way, or the last.
net::Task<void> show_measurement(Connection& client);

}  // namespace sollol::gateway
