// SPDX-License-Identifier: MIT
// any_model: a model in the policy that this machine runs best, as a plain type.
#ifndef BITNET_RUN_ANY_MODEL_HPP
#define BITNET_RUN_ANY_MODEL_HPP

#include <bitnet/checkpoint/activation_rounding.hpp>
#include <bitnet/checkpoint/sampling_advice.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/model/kv_pool.hpp>
#include <bitnet/run/open_options.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/text/chat_template.hpp>
#include <bitnet/text/tokenizer.hpp>
#include <bitnet/thread/pool.hpp>

#include <cassert>
#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

class byte_source;
class gguf_file;
class model_file;
struct any_cpu;
struct conversation_options;
struct hyper_parameters;
struct memory_estimate;

namespace detail {

class batch_base;
class conversation_base;
class scheduler_base;
class session_base;

/// What any_model holds: what can be asked of a model, and what is compiled elsewhere.
class model_base {
public:
    model_base(const model_base&) = delete;
    model_base& operator=(const model_base&) = delete;
    virtual ~model_base() = default;

    /// \param pool null: one of its own
    [[nodiscard]] virtual result<std::unique_ptr<session_base>> open_session(const session_options& options,
                                                                             const pool_ref* pool) const = 0;
    [[nodiscard]] virtual result<std::unique_ptr<kv_pool_base>> open_kv_pool(std::uint64_t bytes,
                                                                             const memory_source* memory) const = 0;
    [[nodiscard]] virtual result<chat_template> open_chat(std::string_view format) const = 0;
    [[nodiscard]] virtual screen_state head_screen() const noexcept = 0;

    /// Set when the model is opened.
    struct description {
        const hyper_parameters* parameters = nullptr;
        const gguf_file* file = nullptr;
        const tokenizer* text = nullptr; ///< null without one
        const sampling_advice* sampling = nullptr;
        std::span<const std::string> notes;
        std::string_view isa;
        std::string_view layout;
        std::uint64_t repacked_bytes = 0;
        std::uint64_t screen_bytes = 0;
        activation_rounding activations = activation_rounding::per_token;
    };
    [[nodiscard]] const description& about() const noexcept { return about_; }

protected:
    model_base() noexcept = default;

    description about_;
};

} // namespace detail

class any_model;

/// Opens models with the policies of a ladder. Declared here and defined by <bitnet/run/open_model.hpp>, so that one
/// source of a program can hold all that is expensive to compile, and all others include <bitnet/any.hpp> alone:
///
///     #include <bitnet/bitnet.hpp>
///     template struct bitnet::compiled_for<bitnet::any_cpu>; // in one source of the program
template <class Ladder> struct compiled_for {
    [[nodiscard]] static result<any_model> open(std::string_view utf8_path, const open_options& options,
                                                std::string_view isa);
    [[nodiscard]] static result<any_model> open(byte_source source, const open_options& options, std::string_view isa);
    [[nodiscard]] static result<any_model> open(model_file source, const open_options& options, std::string_view isa);

    /// See any_batch::open, scheduler::open and conversation::open: compiled by who calls them in a program that has
    /// all in one source. \param pool null: one of its own
    [[nodiscard]] static result<std::unique_ptr<detail::batch_base>>
    open_batch(const any_model& model, const batch_options& options, const pool_ref* pool);
    [[nodiscard]] static result<std::unique_ptr<detail::scheduler_base>>
    open_scheduler(const any_model& model, const scheduler_options& options, const pool_ref* pool);
    [[nodiscard]] static result<std::unique_ptr<detail::conversation_base>>
    open_conversation(const any_model& model, const conversation_options& options, const pool_ref* pool);

    /// See estimate_memory in memory_estimate.hpp.
    [[nodiscard]] static result<memory_estimate> estimate(std::string_view utf8_path, const open_options& options,
                                                          const session_options& of_session, std::string_view isa);
    [[nodiscard]] static result<memory_estimate> estimate(const model_file& source, const open_options& options,
                                                          const session_options& of_session, std::string_view isa);
};

/// An opened model file: hyper-parameters, tokenizer and weights. Immutable, shared by any number of sessions and
/// threads. A plain type that a class can hold; move-only; what it gives stays valid when it moves.
/// Memory: the file's pages as the system maps them or a copy (see page_mode), norms, tokenizer, what had to be
/// repacked, and the screen of the head (see lm_head_mode).
///
///     class storyteller {
///         bitnet::any_model model_;
///         bitnet::any_session session_;   // after model_: it borrows it
///     };
class any_model {
public:
    /// Opens what is at `utf8_path`, a GGUF file or the folder of a Hugging Face checkpoint, with the first policy of
    /// `Ladder` that this CPU can run, or with the one named `isa`. Files that are mapped must not be shortened
    /// meanwhile: see byte_source and open_options::pages. \return errc::unsupported_cpu if there is none or it is not
    /// available, and any error of model_file::open, hyper_parameters::read, tokenizer::open, the pool's open and
    /// weights::open: each names its place.
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<any_model> open(std::string_view utf8_path, const open_options& options = {},
                                                std::string_view isa = {}) {
        return compiled_for<Ladder>::open(utf8_path, options, isa);
    }
    /// The same from the bytes of a GGUF file, which the model takes over: borrowed memory, a callback's bytes, a file
    /// that was read.
    template <class Ladder = any_cpu, class Source>
    requires std::same_as<Source, byte_source> || std::same_as<Source, model_file>
    [[nodiscard]] static result<any_model> open(Source source, const open_options& options = {},
                                                std::string_view isa = {}) {
        return compiled_for<Ladder>::open(std::move(source), options, isa);
    }

    [[nodiscard]] const hyper_parameters& parameters() const noexcept { return *base_->about().parameters; }
    [[nodiscard]] const gguf_file& file() const noexcept { return *base_->about().file; }
    [[nodiscard]] bool has_text() const noexcept { return base_->about().text != nullptr; }
    /// \pre has_text(): the model was opened with open_options::load_tokenizer.
    [[nodiscard]] const tokenizer& text() const noexcept {
        assert(has_text());
        return *base_->about().text;
    }
    /// How the model takes dialogs; `format`, one of chat_format_names, is used instead of what the file says. Borrows
    /// the model. \pre has_text(). \return what chat_template::open returns.
    [[nodiscard]] result<chat_template> chat(std::string_view format = {}) const { return base_->open_chat(format); }

    /// Memory for the keys and values of several sessions of this model: as many pages of 256 positions as `bytes`
    /// hold. \param memory null: as the model's \return errc::invalid_argument if that is none, errc::out_of_memory.
    [[nodiscard]] result<kv_pool> open_kv_pool(std::uint64_t bytes, const memory_source* memory = nullptr) const {
        auto made = base_->open_kv_pool(bytes, memory);
        return made ? result<kv_pool>(kv_pool(*std::move(made))) : failed(made);
    }

    /// How the file advises to choose tokens; sampler_options::advised_by() follows it.
    [[nodiscard]] const sampling_advice& sampling() const noexcept { return *base_->about().sampling; }

    /// What was decided or passed over while opening, a sentence each: an inferred pre-tokenizer, repacked tensors, a
    /// tensor that the architecture does not use.
    [[nodiscard]] std::span<const std::string> notes() const noexcept { return base_->about().notes; }
    [[nodiscard]] std::string_view isa() const noexcept { return base_->about().isa; } ///< "avx2", ...
    /// The layout in which ternary tensors are multiplied: "i2_s", ...
    [[nodiscard]] std::string_view layout() const noexcept { return base_->about().layout; }
    /// Memory for tensors that the file has in another layout; 0 if all are used as they are mapped.
    [[nodiscard]] std::uint64_t repacked_bytes() const noexcept { return base_->about().repacked_bytes; }
    /// Memory for the screen of the head, once it is made; 0 without one, and if the file holds it.
    [[nodiscard]] std::uint64_t screen_bytes() const noexcept { return base_->about().screen_bytes; }
    /// Whether sessions search through a screen of the head: see lm_head_mode. Any thread may ask.
    [[nodiscard]] screen_state head_screen() const noexcept { return base_->head_screen(); }
    /// What happens to activations before ternary products, never by_model: see open_options::activations.
    [[nodiscard]] activation_rounding activations() const noexcept { return base_->about().activations; }

    /// The library's own: for sessions and batches, and for compiled_for.
    [[nodiscard]] const detail::model_base& base() const noexcept { return *base_; }
    explicit any_model(std::unique_ptr<const detail::model_base> base) noexcept : base_(std::move(base)) {}

private:
    std::unique_ptr<const detail::model_base> base_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
