"""Keys of a Synapse homeserver.yaml that this server knows but does not use.

An existing file starts this server; these keys are named in one gentle note, not in a warning.
"""

from __future__ import annotations

OLDER_NAMES = {
    "ip_range_blacklist": "ip_range_blocklist",
    "ip_range_whitelist": "ip_range_allowlist",
    "federation_ip_range_blacklist": "federation_ip_range_blocklist",
}
"""Older name to the name used here; both are accepted."""

NOT_YET_EFFECTIVE = frozenset(
    {
        "app_service_config_files",
        "max_upload_size",
        "media_store_path",
        "rc_key_requests",
        "rc_media_create",
        "rc_third_party_invite",
        "url_preview_enabled",
    }
)
"""Keys that are checked when the file is read and do nothing yet."""

_UNUSED = """
    account_threepid_delegates account_validity admin_contact alias_creation_rules
    allow_device_name_lookup_over_federation allow_per_room_profiles
    allowed_avatar_mimetypes allowed_lifetime_max allowed_local_3pids auto_accept_invites
    auto_join_mxid_localpart auto_join_rooms auto_join_rooms_for_guests autocreate_auto_join_room_preset
    autocreate_auto_join_rooms autocreate_auto_join_rooms_federated background_updates bcrypt_rounds
    block_non_admin_invites caches cas_config cleanup_extremities_with_dummy_events
    custom_template_directory daemonize databases default_identity_server
    default_power_level_content_override delete_stale_devices_after disable_msisdn_registration
    dummy_events_threshold email enable_3pid_changes enable_3pid_lookup enable_authenticated_media
    enable_ephemeral_messages enable_media_repo enable_metrics enable_registration_captcha
    enable_room_list_search enable_set_avatar_url enable_set_displayname
    encryption_enabled_by_default_for_room_type event_cache_size exclude_rooms_from_sync
    experimental_features federation_certificate_verification_whitelist
    federation_client_minimum_tls_version federation_metrics_domains federation_rc_concurrent
    federation_rc_reject_limit federation_rc_sleep_delay federation_rc_sleep_limit
    federation_rc_window_size federation_sender_instances
    federation_whitelist_endpoint_enabled filter_timeline_limit forget_rooms_on_leave
    forgotten_room_retention_period form_secret form_secret_path gc_min_interval gc_thresholds
    group_creation_prefix hs_disabled hs_disabled_message http_proxy https_proxy
    include_profile_data_on_invite inhibit_user_in_use_error instance_map jwt_config
    key_server_signing_keys_path ldap_config limit_profile_requests_to_users_who_share_rooms
    limit_remote_rooms limit_usage_by_mau macaroon_secret_key
    macaroon_secret_key_path manhole_settings matrix_authentication_service matrix_rtc
    mau_appservice_trial_days mau_limit_reserved_threepids mau_stats_only mau_trial_days max_avatar_size
    max_event_delay_duration max_image_pixels max_mau_value max_pending_media_uploads max_spider_size
    media_instance_running_background_jobs media_retention media_storage_providers media_upload_limits
    metrics_flags metrics_port modules next_link_domain_whitelist no_proxy_hosts
    notify_appservices_from_worker oembed oidc_config oidc_providers
    opentracing outbound_federation_restricted_to password_config password_providers perspectives
    prevent_media_downloads_from pusher_instances
    rc_delayed_event_mgmt rc_message_burst_count rc_messages_per_second
    recaptcha_private_key
    recaptcha_private_key_path recaptcha_public_key recaptcha_public_key_path recaptcha_siteverify_api
    redaction_retention_period redis
    registrations_require_3pid remote_media_download_burst_count remote_media_download_per_second
    report_stats report_stats_endpoint request_token_inhibit_3pid_errors
    require_auth_for_profile_requests require_membership_for_aliases retention
    room_list_publication_rules room_prejoin_state run_background_tasks_on saml2_config send_federation
    sentry server_context signing_key soft_file_limit spam_checker sso
    start_pushers stats stream_writers suppress_key_server_warning synchrotron_config templates
    third_party_event_rules thumbnail_sizes track_puppeted_user_ips
    update_user_directory_from_worker url_preview_accept_language url_preview_ip_range_blacklist
    url_preview_ip_range_whitelist url_preview_url_blacklist use_appservice_legacy_authorization
    use_frozen_dicts user_agent_suffix user_consent user_ips_max_age
    web_client web_client_location worker_app worker_listeners worker_name worker_replication_http_port
    worker_replication_secret
    """
UNUSED = frozenset(_UNUSED.split())
"""Known, without effect here."""

IGNORED_LISTENER_TYPES = frozenset({"manhole", "metrics", "replication", "cli"})
"""Listener types of Synapse that this server does not open; such listeners are left out with a note."""

IGNORED_RESOURCES = frozenset({"consent", "replication", "webclient"})
"""Listener resources of Synapse that this server does not have; left out with a note."""
