#pragma once

#include "gateway/connection.h"

namespace sollol::gateway {

/// `POST /api/blobs/:digest`: streamed to every target node as it comes, at the pace of the
/// slowest; nothing of it is kept. A blob must be on every node that a later `create` reaches
/// (reference §7).
net::Task<void> serve_blob_upload(Connection& client);

/// `HEAD /api/blobs/:digest`: 200 when every target node has it.
net::Task<void> serve_blob_check(Connection& client);

}  // namespace sollol::gateway
