// SPDX-License-Identifier: MIT
// any_model and any_session: models and sessions of whichever policy this machine can run, as plain types.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/model/model_file.hpp>
#include <bitnet/run/dispatch.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/session.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// What a session can do, whatever its policy. See session<P> for what the functions promise.
class session_interface {
public:
    virtual ~session_interface() = default;
    [[nodiscard]] virtual result<void> feed(std::span<const token> tokens) = 0;
    [[nodiscard]] virtual result<void> feed_each(std::span<const token> tokens, const logits_visitor& visitor) = 0;
    [[nodiscard]] virtual std::optional<token> next(sampler& choose) = 0;
    [[nodiscard]] virtual result<std::span<const float>> logits() = 0;
    [[nodiscard]] virtual result<std::span<const scored_token>> largest_logits(std::size_t k) = 0;
    [[nodiscard]] virtual result<std::span<const float>> embedding() = 0;
    [[nodiscard]] virtual result<std::span<const float>> embed(std::span<const token> tokens) = 0;
    [[nodiscard]] virtual const bitnet::head_statistics& head_statistics() const noexcept = 0;
    [[nodiscard]] virtual std::size_t position() const noexcept = 0;
    [[nodiscard]] virtual std::size_t context() const noexcept = 0;
    [[nodiscard]] virtual std::size_t threads() const noexcept = 0;
    [[nodiscard]] virtual bitnet::stop_reason stop_reason() const noexcept = 0;
    [[nodiscard]] virtual const bitnet::error& error() const noexcept = 0;
    virtual void reset() noexcept = 0;
};

/// What a model can do, whatever its policy. See model<P>.
class model_interface {
public:
    virtual ~model_interface() = default;
    [[nodiscard]] virtual const hyper_parameters& parameters() const noexcept = 0;
    [[nodiscard]] virtual const gguf_file& file() const noexcept = 0;
    [[nodiscard]] virtual bool has_text() const noexcept = 0;
    [[nodiscard]] virtual const tokenizer& text() const noexcept = 0;
    [[nodiscard]] virtual std::span<const std::string> notes() const noexcept = 0;
    [[nodiscard]] virtual std::string_view isa() const noexcept = 0;
    [[nodiscard]] virtual std::string_view layout() const noexcept = 0;
    [[nodiscard]] virtual std::uint64_t repacked_bytes() const noexcept = 0;
    [[nodiscard]] virtual result<std::unique_ptr<session_interface>> open_session(const session_options&) const = 0;
};

/// The virtual functions of session_interface over session<P>.
template <policy_type P> class erased_session final : public session_interface {
public:
    explicit erased_session(session<P> opened) noexcept : session_(std::move(opened)) {}

    result<void> feed(std::span<const token> tokens) override { return session_.feed(tokens); }
    result<void> feed_each(std::span<const token> tokens, const logits_visitor& visitor) override {
        return session_.feed_each(tokens, visitor);
    }
    std::optional<token> next(sampler& choose) override { return session_.next(choose); }
    result<std::span<const float>> logits() override { return session_.logits(); }
    result<std::span<const scored_token>> largest_logits(std::size_t k) override { return session_.largest_logits(k); }
    result<std::span<const float>> embedding() override { return session_.embedding(); }
    result<std::span<const float>> embed(std::span<const token> tokens) override { return session_.embed(tokens); }
    const bitnet::head_statistics& head_statistics() const noexcept override { return session_.head_statistics(); }
    std::size_t position() const noexcept override { return session_.position(); }
    std::size_t context() const noexcept override { return session_.context(); }
    std::size_t threads() const noexcept override { return session_.threads(); }
    bitnet::stop_reason stop_reason() const noexcept override { return session_.stop_reason(); }
    const bitnet::error& error() const noexcept override { return session_.error(); }
    void reset() noexcept override { session_.reset(); }

private:
    session<P> session_;
};

/// The virtual functions of model_interface over model<P>.
template <policy_type P> class erased_model final : public model_interface {
public:
    explicit erased_model(model<P> opened) noexcept : model_(std::move(opened)) {}

    const hyper_parameters& parameters() const noexcept override { return model_.parameters(); }
    const gguf_file& file() const noexcept override { return model_.file(); }
    bool has_text() const noexcept override { return model_.has_text(); }
    const tokenizer& text() const noexcept override { return model_.text(); }
    std::span<const std::string> notes() const noexcept override { return model_.notes(); }
    std::string_view isa() const noexcept override { return P::isa::name; }
    std::string_view layout() const noexcept override { return P::layout::name; }
    std::uint64_t repacked_bytes() const noexcept override { return model_.tensors().repacked_bytes(); }
    result<std::unique_ptr<session_interface>> open_session(const session_options& options) const override {
        auto opened = session<P>::open(model_, options);
        if (!opened) {
            return std::move(opened).error();
        }
        std::unique_ptr<session_interface> erased(new (std::nothrow) erased_session<P>(*std::move(opened)));
        if (erased == nullptr) {
            return bitnet::error{errc::out_of_memory, "session: " + std::to_string(sizeof(erased_session<P>)) +
                                                          " bytes could not be allocated"};
        }
        return erased;
    }

private:
    model<P> model_;
};

/// A model whose policy was chosen at run time from a list. A plain type that a class can hold; move-only; what it
/// gives stays valid when it moves.
///
///     class storyteller {
///         bitnet::any_model model_;
///         bitnet::any_session session_;   // after model_: it borrows it
///     };
///
/// One virtual call per feed or next; below it everything is as static as with model<P>.
class any_model {
public:
    /// Opens a GGUF file or the folder of a Hugging Face checkpoint with the first policy of `Ladder` that this CPU can
    /// run, or with the one named `isa`.
    /// \return errc::unsupported_cpu where there is none or it is not available, and what model<P>::open returns.
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<any_model> open(std::string_view utf8_path, open_options options = {},
                                                std::string_view isa = {});
    /// The same from the bytes of a GGUF file, which the model takes over.
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<any_model> open(byte_source source, open_options options = {},
                                                std::string_view isa = {});
    /// The same from a file that the program has looked at before, which the model takes over.
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<any_model> open(model_file source, open_options options = {},
                                                std::string_view isa = {});

    [[nodiscard]] const hyper_parameters& parameters() const noexcept { return model_->parameters(); }
    [[nodiscard]] const gguf_file& file() const noexcept { return model_->file(); }
    [[nodiscard]] bool has_text() const noexcept { return model_->has_text(); }
    /// \pre has_text()
    [[nodiscard]] const tokenizer& text() const noexcept { return model_->text(); }
    [[nodiscard]] std::span<const std::string> notes() const noexcept { return model_->notes(); }
    [[nodiscard]] std::string_view isa() const noexcept { return model_->isa(); } ///< "avx2", ...
    /// The layout in which ternary tensors are multiplied: "i2_s", ...
    [[nodiscard]] std::string_view layout() const noexcept { return model_->layout(); }
    /// Memory for tensors that the file has in another layout; 0 where all are used as they are mapped.
    [[nodiscard]] std::uint64_t repacked_bytes() const noexcept { return model_->repacked_bytes(); }

private:
    friend class any_session;
    explicit any_model(std::unique_ptr<model_interface> erased) noexcept : model_(std::move(erased)) {}

    template <policy_type P>
    [[nodiscard]] static result<any_model> erase(model_file source, const open_options& options);

    std::unique_ptr<model_interface> model_;
};

/// A session with an any_model, which must outlive it. Move-only, and belongs to one thread at a time.
class any_session {
public:
    /// \return what session<P>::open returns.
    [[nodiscard]] static result<any_session> open(const any_model& opened, session_options options = {}) {
        auto erased = opened.model_->open_session(options);
        return erased ? result<any_session>(any_session(*std::move(erased))) : std::move(erased).error();
    }
    static result<any_session> open(any_model&&, session_options = {}) = delete; // would dangle

    [[nodiscard]] result<void> feed(std::span<const token> tokens) { return session_->feed(tokens); }
    template <class Visit> [[nodiscard]] result<void> feed_each(std::span<const token> tokens, Visit&& visit) {
        return session_->feed_each(tokens, visitor_of(visit));
    }
    [[nodiscard]] std::optional<token> next(sampler& choose) { return session_->next(choose); }
    [[nodiscard]] result<std::span<const float>> logits() { return session_->logits(); }
    [[nodiscard]] result<std::span<const scored_token>> largest_logits(std::size_t k) {
        return session_->largest_logits(k);
    }
    [[nodiscard]] result<std::span<const float>> embedding() { return session_->embedding(); }
    [[nodiscard]] result<std::span<const float>> embed(std::span<const token> tokens) {
        return session_->embed(tokens);
    }
    [[nodiscard]] const bitnet::head_statistics& head_statistics() const noexcept {
        return session_->head_statistics();
    }
    [[nodiscard]] std::size_t position() const noexcept { return session_->position(); }
    [[nodiscard]] std::size_t context() const noexcept { return session_->context(); }
    [[nodiscard]] std::size_t threads() const noexcept { return session_->threads(); }
    [[nodiscard]] bitnet::stop_reason stop_reason() const noexcept { return session_->stop_reason(); }
    [[nodiscard]] const bitnet::error& error() const noexcept { return session_->error(); }
    void reset() noexcept { session_->reset(); }

private:
    explicit any_session(std::unique_ptr<session_interface> erased) noexcept : session_(std::move(erased)) {}

    std::unique_ptr<session_interface> session_;
};

// Defined outside the class, so that a program can declare `extern template` for its ladder and build it once.

template <class Ladder>
result<any_model> any_model::open(std::string_view utf8_path, open_options options, std::string_view isa) {
    auto source = model_file::open(utf8_path, {options.load_tokenizer, options.pre_tokenizer});
    return source ? open<Ladder>(*std::move(source), options, isa) : result<any_model>(std::move(source).error());
}

template <class Ladder>
result<any_model> any_model::open(byte_source source, open_options options, std::string_view isa) {
    auto file = model_file::open(std::move(source));
    return file ? open<Ladder>(*std::move(file), options, isa) : result<any_model>(std::move(file).error());
}

template <class Ladder>
result<any_model> any_model::open(model_file source, open_options options, std::string_view isa) {
    std::string names;
    for (const std::string_view name : Ladder::names) {
        names += (names.empty() ? "" : ", ") + std::string(name);
    }
    result<any_model> opened =
        bitnet::error{errc::unsupported_cpu, isa.empty() ? "this CPU runs none of: " + names
                                                         : "'" + std::string(isa) + "' is none of: " + names};
    const auto open_with = [&]<class P>() { opened = erase<P>(std::move(source), options); };
    if (isa.empty()) {
        Ladder::with_first_available(open_with);
    } else {
        Ladder::with_isa(isa, open_with);
    }
    return opened;
}

template <policy_type P> result<any_model> any_model::erase(model_file source, const open_options& options) {
    auto opened = model<P>::open(std::move(source), options);
    if (!opened) {
        return std::move(opened).error();
    }
    std::unique_ptr<model_interface> erased(new (std::nothrow) erased_model<P>(*std::move(opened)));
    if (erased == nullptr) {
        return bitnet::error{errc::out_of_memory,
                             "model: " + std::to_string(sizeof(erased_model<P>)) + " bytes could not be allocated"};
    }
    return any_model(std::move(erased));
}

} // namespace bitnet::inline BITNET_ABI
