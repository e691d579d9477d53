#include "sim/anthropic_writer.h"
#include "sim/inference.h"
#include "sim/openai_request.h"
#include "sim/routes.h"

namespace sollol::sim {
namespace {

Handled messages_route(Call call) {
  const auto body = read_json(call);
  if (!body) co_return std::unexpected(body.error());
  auto request = read_anthropic(*body);
  if (!request) co_return std::unexpected(request.error());
  // A model that cannot think is not asked to, instead of refused.
  const auto model = call.node.store.find(request->model);
  if (model && !model->can("thinking")) request->think = Think::unset;
  std::size_t characters = 0;
  for (const auto& message : request->messages) characters += message.content.size();
  AnthropicWriter writer(*request, characters);
  co_return co_await generate(call, std::move(*request), writer);
}

constexpr Route routes[] = {
    {"POST", "/v1/messages", messages_route, ErrorForm::anthropic, Route::Kind::inference},
};

}  // namespace

std::span<const Route> anthropic_routes() { return routes; }

}  // namespace sollol::sim
