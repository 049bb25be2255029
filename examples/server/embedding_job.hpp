// SPDX-License-Identifier: MIT
// embedding_job: answers a request of /v1/embeddings, one text after the other, with the passes of others between them.
#pragma once

#include "../tools/json_writer.hpp"
#include "job.hpp"
#include "text_request.hpp"

#include <bitnet/any.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace server {

/// Floats of 32 bits, little-endian, in base64 (RFC 4648).
inline std::string base64_of(std::span<const float> values) {
    constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::vector<std::uint32_t> bytes;
    for (const float value : values) {
        const auto bits = std::bit_cast<std::uint32_t>(value);
        for (unsigned shift = 0; shift < 32; shift += 8) {
            bytes.push_back(bits >> shift & 255u);
        }
    }
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::size_t left = bytes.size() - i;
        const std::uint32_t three =
            bytes[i] << 16 | (left > 1 ? bytes[i + 1] << 8 : 0u) | (left > 2 ? bytes[i + 2] : 0u);
        text += digits[three >> 18];
        text += digits[three >> 12 & 63u];
        text += left > 1 ? digits[three >> 6 & 63u] : '=';
        text += left > 2 ? digits[three & 63u] : '=';
    }
    return text;
}

class embedding_job final : public job {
public:
    embedding_job(embedding_request asked, std::shared_ptr<reply_sink> sink)
        : job(std::move(sink)), asked_(std::move(asked)) {
        json_.begin('{');
        json_.member("object", "list");
        json_.begin("data", '[');
    }

    [[nodiscard]] bool speaks() const noexcept override { return false; }
    [[nodiscard]] std::optional<api_error> begin(served_model& of, chat_slot& in) override {
        model_ = &of;
        const auto opened = in.text_session(of);
        if (!opened) {
            return api_error_of(opened.error());
        }
        session_ = *opened;
        return std::nullopt;
    }
    [[nodiscard]] bool pump() override {
        auto added = add(next_);
        if (!added) {
            sink().send(api_error_of(added.error(), "input"));
            return true;
        }
        if (++next_ < asked_.inputs.size()) {
            return false;
        }
        json_.end(']');
        json_.member("model", model_->name);
        json_.begin("usage", '{');
        json_.member("prompt_tokens", usage_.prompt);
        json_.member("total_tokens", usage_.prompt);
        json_.end('}');
        json_.end('}');
        sink().send(api_reply{200, json_.text()});
        return true;
    }
    void cancel() override {}

    [[nodiscard]] bitnet::any_session& session() noexcept override { return *session_; }
    [[nodiscard]] std::optional<bitnet::any_chooser> chooser() noexcept override { return std::nullopt; }
    void take(std::optional<bitnet::token>) noexcept override {}

private:
    [[nodiscard]] bitnet::result<std::vector<bitnet::token>> tokens_of(const text_or_tokens& given) const {
        const auto* tokens = std::get_if<std::vector<bitnet::token>>(&given);
        return tokens != nullptr ? bitnet::result<std::vector<bitnet::token>>(*tokens)
                                 : bitnet::tokens_to_embed(model_->model, std::get<std::string>(given));
    }
    [[nodiscard]] bitnet::result<void> add(std::size_t index) {
        const auto tokens = tokens_of(asked_.inputs[index]);
        if (!tokens) {
            return bitnet::error{tokens.error()};
        }
        if (tokens->empty()) {
            return bitnet::error{bitnet::errc::invalid_argument, "input " + std::to_string(index) + " has no token"};
        }
        const auto made = session_->embed(*tokens);
        if (!made) {
            return bitnet::error{made.error()};
        }
        usage_.prompt += tokens->size();
        json_.begin('{');
        json_.member("object", "embedding");
        json_.member("index", index);
        if (asked_.as_base64) {
            json_.member("embedding", base64_of(*made));
        } else {
            json_.begin("embedding", '[');
            for (const float value : *made) {
                json_.value(value);
            }
            json_.end(']');
        }
        json_.end('}');
        return {};
    }

    embedding_request asked_;
    served_model* model_ = nullptr;
    bitnet::any_session* session_ = nullptr;
    tools::json_writer json_; ///< the answer as far as it is made
    std::size_t next_ = 0;
};

} // namespace server
