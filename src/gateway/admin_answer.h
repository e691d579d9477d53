#pragma once

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "api/errors.h"
#include "gateway/connection.h"
#include "gateway/inference.h"

namespace sollol::gateway {

/// What the gateway's own routes answer.
inline net::Task<void> answer_json(Connection& client, const boost::json::value& value,
                                   int status = 200) {
  return client.answer(status, api::json_content_type, boost::json::serialize(value) + "\n");
}
inline net::Task<void> answer_error(Connection& client, int status, std::string_view message) {
  return client.answer(api::error_reply(api::Dialect::native, status, message));
}

inline constexpr std::size_t admin_body_max = 64 * 1024;

/// The body of a request to them; nullopt once the client was told why it is not taken.
inline net::Task<std::optional<std::string_view>> read_or_refuse(
    Connection& client, std::size_t bytes_max = admin_body_max) {
  auto reading = client.read_body(bytes_max);
  const Result<std::string_view> body = co_await std::move(reading);
  if (body) co_return *body;
  auto refusing = answer_body_error(client, body.error());
  co_await std::move(refusing);
  co_return std::nullopt;
}

}  // namespace sollol::gateway
