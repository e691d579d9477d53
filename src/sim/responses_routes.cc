#include "sim/inference.h"
#include "sim/openai_request.h"
#include "sim/responses_writer.h"
#include "sim/routes.h"

namespace sollol::sim {
namespace {

Handled responses_route(Call call) {
  const auto body = read_json(call);
  if (!body) co_return std::unexpected(body.error());
  auto request = read_responses(*body);
  if (!request) co_return std::unexpected(request.error());
  ResponsesWriter writer(*request);
  co_return co_await generate(call, std::move(*request), writer);
}

constexpr Route routes[] = {
    {"POST", "/v1/responses", responses_route, ErrorForm::openai, Route::Kind::inference},
};

}  // namespace

std::span<const Route> responses_routes() { return routes; }

}  // namespace sollol::sim
