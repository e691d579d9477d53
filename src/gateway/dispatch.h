#pragma once

#include "gateway/connection.h"

namespace sollol::gateway {

/// Serves the connection's request: origin check, our own routes, then Ollama's route table
/// (reference §2). Whatever happens, the client has been answered or has left when this returns.
net::Task<void> dispatch(Connection& client);

}  // namespace sollol::gateway
