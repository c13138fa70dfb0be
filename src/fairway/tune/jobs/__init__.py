"""Fine-tuning as a service: files that were uploaded, jobs that outlive the server, and what trains them."""
