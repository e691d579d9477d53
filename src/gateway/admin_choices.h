#pragma once

#include "gateway/connection.h"

namespace sollol::gateway {

/// `GET /sollol/v1/decisions`: the last choices, newest first, each with the nodes considered and
/// what came of it.
net::Task<void> list_decisions(Connection& client);

/// `GET /sollol/v1/explain?model=M[&prompt_tokens=N][&answer_tokens=N]`: where such a request would
/// go now, and what every node would cost it.
net::Task<void> explain_choice(Connection& client);

}  // namespace sollol::gateway
