#pragma once

#include "gateway/connection.h"

namespace sollol::gateway {

/// `GET /sollol/v1/models`: what is where, how much it is asked for, and what is planned.
net::Task<void> list_models(Connection& client);

/// `POST /sollol/v1/models/warm` with `{"model": M, "replicas": N}`: the model shall be loaded on N
/// nodes; 0 withdraws that. Answers at once with what `GET /sollol/v1/models` says then, and the
/// model's name as the nodes have it.
net::Task<void> warm_model(Connection& client);

}  // namespace sollol::gateway
