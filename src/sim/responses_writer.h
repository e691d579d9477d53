#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <string>

#include "sim/inference.h"

namespace sollol::sim {

/// The named events and answers of `/v1/responses`: a reasoning item, a message, function calls, in
/// this order.
class ResponsesWriter final : public AnswerWriter {
 public:
  explicit ResponsesWriter(const Generation& request);

  std::string_view stream_type() const override { return sse_type; }
  bool stream() const override { return stream_; }
  std::string begin(std::uint32_t prompt_tokens) override;
  std::string piece(const Piece& piece) override;
  std::string last(const Piece& rest, const Final& final) override;
  std::string whole(const Piece& all, const Final& final) override;
  std::string broken(std::string_view error) override;
  std::string loaded(std::string_view, Duration) override { return whole({}, {}); }
  std::string rendered(std::string_view) override { return whole({}, {}); }

 private:
  enum class Open : std::uint8_t { nothing, reasoning, message };

  std::string event(std::string_view type, boost::json::object fields);
  std::string open(Open item);
  std::string close();
  std::string call(const ToolCall& call);
  std::string delta(std::string_view type, std::string_view text);
  boost::json::object item(Open kind, std::string_view status) const;
  boost::json::object response(std::string_view status, boost::json::value usage) const;

  bool stream_;
  std::string model_;
  std::string id_;
  std::uint64_t sequence_ = 0;
  Open open_ = Open::nothing;
  std::string text_;           // of the open item
  boost::json::array output_;  // items that are done
};

}  // namespace sollol::sim
