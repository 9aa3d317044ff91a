'use strict';
/**
 * PM2 ecosystem of a chat service.
 */
module.exports = {
  apps: [
    {
      name: 'api',
      script: './dist/server.js',        // built by tsc
      cwd: '/srv/chat',
      instances: 2,
      exec_mode: 'cluster',
      node_args: ['--max-old-space-size=4096', '--enable-source-maps'],
      args: '--config "prod config.json" --verbose',
      env: {
        NODE_ENV: 'development',
        PORT: 3000,
        FEATURE_X: true,
        LIMITS: { rooms: 10 },
        GREETING: "it's \"fine\"",
        NOTHING: null,
      },
      env_production: { NODE_ENV: 'production' },
      increment_var: 'PORT',
      max_memory_restart: '300M',
      max_restarts: 10,
      min_uptime: '10s',
      exp_backoff_restart_delay: 100,
      kill_timeout: 5000,
      cron_restart: '0 3 * * *',
      wait_ready: true,
      watch: ['dist'],
      merge_logs: true,
      error_file: '/var/log/chat/err.log',
      source_map_support: false,
    },
    {
      name: '@chat/mailer',
      script: 'mailer.py',
      interpreter: '/srv/chat/venv/bin/python',
      cwd: 'mail',
      restart_delay: 4000,
      stop_exit_codes: [0, 3],
      namespace: 'mail',
      uid: 'chat',
      gid: 'chat',
    },
    {
      script: 'npm run sitemap',
      autorestart: false,
      cwd: __dirname,
    },
  ],

  deploy: {
    production: { user: 'node', host: ['192.0.2.1'], ref: 'origin/main' },
  },
};
